import type { ClusterStatus, NodeStatus } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import type { Rates } from "../data/rates.ts";
import { Fact } from "../parts/marks.tsx";
import { Panel } from "../parts/panel.tsx";
import { count, rate, UNKNOWN, words } from "../text/amounts.ts";

interface LogProps {
  readonly cluster: Polled<ClusterStatus>;
  readonly status: Polled<NodeStatus>;
  readonly rates: Rates;
}

/** The log: its range, and the writes a second. */
export function LogPanel({ cluster, status, rates }: LogProps) {
  return (
    <Panel id="log" title="Log" source={status} aside={words(status.value?.log?.name)}>
      {({ log }) => {
        const last = cluster.failure === undefined ? cluster.value?.log.lastTxId : undefined;
        return (
          <dl>
            <Fact name="Reachable">{yesOrNo(log?.reachable)}</Fact>
            <Fact name="First transaction">{count(log?.firstTxId)}</Fact>
            <Fact name="Last transaction">{count(last ?? log?.lastTxId)}</Fact>
            <Fact name="Writes">{rate(rates.perSecond("log"))}</Fact>
            <Fact name="Location">{words(log?.location)}</Fact>
            <Fact name="Id">
              <code>{words(log?.id)}</code>
            </Fact>
          </dl>
        );
      }}
    </Panel>
  );
}

export function yesOrNo(value: unknown): string {
  if (typeof value !== "boolean") return UNKNOWN;
  return value ? "yes" : "no";
}
