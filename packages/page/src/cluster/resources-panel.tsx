import type { NodeStatus } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import type { Rates } from "../data/rates.ts";
import { Fact } from "../parts/marks.tsx";
import { Panel } from "../parts/panel.tsx";
import { amountOfBytes, count, span, UNKNOWN, words } from "../text/amounts.ts";

interface ResourcesProps {
  readonly status: Polled<NodeStatus>;
  readonly rates: Rates;
}

export function ResourcesPanel({ status, rates }: ResourcesProps) {
  return (
    <Panel id="resources" title="This node" source={status} aside={words(status.value?.node)}>
      {() => {
        const { value } = status;
        const used = value?.resources;
        const busy = rates.perSecond("processor");
        return (
          <dl>
            <Fact name="Version">{words(value?.version)}</Fact>
            <Fact name="Running for">{span(used?.uptimeMs)}</Fact>
            <Fact name="Documents">
              {count(value?.index.documents)} in {amountOfBytes(value?.index.bytes)}
            </Fact>
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
