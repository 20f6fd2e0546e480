import type { NodeStatus, OwnIndexStatus } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import type { Rates } from "../data/rates.ts";
import { Fact } from "../parts/marks.tsx";
import { Panel } from "../parts/panel.tsx";
import { amountOfBytes, count, counted, span, UNKNOWN, words } from "../text/amounts.ts";

interface ResourcesProps {
  readonly status: Polled<NodeStatus>;
  readonly rates: Rates;
}

export function ResourcesPanel({ status, rates }: ResourcesProps) {
  return (
    <Panel id="resources" title="This node" source={status} aside={words(status.value?.node)}>
      {({ version, resources: used, index, ownIndexes }) => {
        const busy = rates.perSecond("processor");
        return (
          <dl>
            <Fact name="Version">{words(version)}</Fact>
            <Fact name="Running for">{span(used?.uptimeMs)}</Fact>
            <Fact name="Documents">
              {count(index.documents)} in {amountOfBytes(index.bytes)}
            </Fact>
            {ownIndexes?.map((own) => (
              <Fact key={own.name} name="Own index">
                {ownIndex(own)}
              </Fact>
            ))}
            <Fact name="Memory">{amountOfBytes(used?.memoryBytes)}</Fact>
            <Fact name="Processor">
              {busy === undefined ? UNKNOWN : `${(busy / 10).toFixed(1)} % of one core`}
            </Fact>
            <Fact name="Disk">
              {amountOfBytes(used?.diskFreeBytes)} free of {amountOfBytes(used?.diskTotalBytes)}
            </Fact>
          </dl>
        );
      }}
    </Panel>
  );
}

/** Returns the state of an index of one's own, and how far it is. The reason of a failure is a finding. */
function ownIndex({ name, version, state, txId, served, built }: OwnIndexStatus): string {
  const documents = typeof built === "number" ? `, ${counted(built, "document")} so far` : "";
  const place = typeof txId === "number" ? `, transaction ${count(txId)}` : "";
  const meanwhile =
    state === "building" && served !== null ? `; version ${count(served)} answers meanwhile` : "";
  return `${words(name)} ${count(version)}: ${words(state)}${documents}${place}${meanwhile}`;
}
