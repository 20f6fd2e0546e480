import type { ClusterNode, ClusterStatus } from "@cairn/client";
import type { Polled } from "../data/polled.ts";
import type { Rates } from "../data/rates.ts";
import { Mark, type MarkState } from "../parts/marks.tsx";
import { Panel } from "../parts/panel.tsx";
import { Table } from "../parts/tables.tsx";
import { amountOfBytes, count, counted, rate, span, UNKNOWN, words } from "../text/amounts.ts";
import { instant, localTime } from "../text/times.ts";

const COLUMNS = ["Node", "Phase", "Transaction", "Behind", "Rate", "Time left", "Joined", "Last heard"];

interface NodesProps {
  readonly cluster: Polled<ClusterStatus>;
  readonly rates: Rates;
}

/** All nodes of the log, with those that no longer answer. */
export function NodesPanel({ cluster, rates }: NodesProps) {
  return (
    <Panel id="nodes" title="Nodes" source={cluster} aside={counted(cluster.value?.nodes?.length, "node")}>
      {(value) => (
        <Table caption="The nodes of the log" columns={COLUMNS}>
          {value.nodes.map((node) => (
            <NodeRow key={node.instance} node={node} cluster={value} rates={rates} />
          ))}
          {value.silent.map(({ node, instance, forMs }) => (
            <tr key={instance} class="gone" data-node={words(node)} data-state="gone">
              <th scope="row">{words(node)}</th>
              <td colSpan={6}>
                <Mark state="failing" /> gone: it has not answered for {span(forMs)}
              </td>
              <td>{localTime(sinceOf(value.at, forMs))}</td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}

function sinceOf(at: string | undefined, forMs: number): number | undefined {
  const asked = instant(at);
  return asked === undefined ? undefined : asked - forMs;
}

interface NodeRowProps {
  readonly node: ClusterNode;
  readonly cluster: ClusterStatus;
  readonly rates: Rates;
}

type Status = ClusterNode["status"];

function NodeRow({ node: { node, instance, host, pid, status, sameLog }, cluster, rates }: NodeRowProps) {
  const { phase, index, progress, verdict, failure } = status;
  const notes = [
    instance === cluster.askedBy.instance ? "this node" : "",
    cluster.sameId.includes(node) ? "another node has the same id" : "",
    sameLog === false ? "has another log" : "",
  ]
    .filter((text) => text !== "")
    .join(", ");
  const state = stateOf(status);
  return (
    <tr data-node={words(node)} data-state={words(phase)}>
      <th scope="row" title={`${words(host)}, process ${pid}`}>
        {words(node)}
        {notes === "" ? null : <small class="quiet"> {notes}</small>}
      </th>
      <td class="phase">
        <Mark state={state} /> {words(phase)}
        {progress === null || progress === undefined ? null : (
          <>
            <progress max={progress.total} value={progress.done} aria-label={`progress of ${words(node)}`} />
            <small>
              {amount(progress.done, progress.unit)} of {amount(progress.total, progress.unit)}
            </small>
          </>
        )}
        {state === "failing" || state === "attention" ? (
          <small class="problem">
            {words(verdict.message)} {failure?.retries === false ? "It has halted." : ""}
          </small>
        ) : null}
      </td>
      <td class="number">{count(index.txId)}</td>
      <td class="number">{count(index.lag)}</td>
      <td class="number">{rateOf(status, rates, instance)}</td>
      <td class="number">{phase === "ready" ? "–" : span(progress?.etaMs)}</td>
      <td class="joined">{attached(status, cluster.at) ?? joined(status)}</td>
      <td>{localTime(instant(cluster.at))}</td>
    </tr>
  );
}

function stateOf({ phase, verdict }: Status): MarkState {
  if (verdict?.state === "failing" || verdict?.state === "attention") return verdict.state;
  if (phase === "ready") return "healthy";
  return phase === "restoring" || phase === "replaying" || phase === "stopping" ? "not-ready" : "unknown";
}

function amount(value: unknown, unit: unknown): string {
  return unit === "bytes" ? amountOfBytes(value) : count(value);
}

function rateOf({ phase }: Status, rates: Rates, counter: string): string {
  const bytes = phase === "restoring" ? rates.perSecond(`${counter} bytes`) : undefined;
  if (bytes !== undefined) return `${amountOfBytes(bytes)}/s`;
  return rate(rates.perSecond(`${counter} tx`));
}

/** Returns what a node serves while it restores; undefined if nothing. Its progress is in the row already. */
function attached({ attached: from }: Status, at: string): string | undefined {
  if (from === null || from === undefined) return undefined;
  // The store's clock may be ahead.
  const age = Math.max(0, (instant(at) ?? Number.NaN) - (instant(from.takenAt) ?? Number.NaN));
  return `serves stale reads as of transaction ${count(from.txId)}, ${span(age)} ago, from ${words(from.checkpoint)}`;
}

function joined({ join, phase }: Status): string {
  const took = join.readyAfterMs === null ? "" : `, ready after ${span(join.readyAfterMs)}`;
  const replayed = `, ${counted(join.replayed, "transaction")} replayed`;
  if (join.restoredFrom !== null) return `from ${words(join.restoredFrom.name)}${replayed}${took}`;
  if (phase === "restoring" || phase === "failed") return UNKNOWN;
  return `without a checkpoint${replayed}${took}`;
}
