import type { ClusterNode, ClusterStatus, NodeStatus } from "@cairn/client";
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
  readonly status: Polled<NodeStatus>;
  readonly rates: Rates;
}

/** All nodes of the log, with those that no longer answer. If the others cannot be asked, this node alone. */
export function NodesPanel({ cluster, status, rates }: NodesProps) {
  const alone = cluster.value === undefined && status.value !== undefined;
  return (
    <Panel
      id="nodes"
      title="Nodes"
      source={alone ? status : cluster}
      aside={
        alone
          ? "this node alone, because the others could not be asked"
          : counted(cluster.value?.nodes?.length, "node")
      }
    >
      {() => (
        <Table caption="The nodes of the log" columns={COLUMNS}>
          {alone && status.value !== undefined ? (
            <NodeRow
              node={status.value.node}
              key="alone"
              status={status.value}
              rates={rates}
              heard={status.at}
            />
          ) : (
            cluster.value?.nodes.map((node) => (
              <ClusterNodeRow key={node.instance} node={node} cluster={cluster.value} rates={rates} />
            ))
          )}
          {cluster.value?.silent.map(({ node, instance, forMs }) => (
            <tr key={instance} class="gone" data-node={words(node)} data-state="gone">
              <th scope="row">{words(node)}</th>
              <td colSpan={6}>
                <Mark state="failing" /> gone: it has not answered for {span(forMs)}
              </td>
              <td>{localTime(sinceOf(cluster.value?.at, forMs))}</td>
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

interface ClusterNodeRowProps {
  readonly node: ClusterNode;
  readonly cluster: ClusterStatus | undefined;
  readonly rates: Rates;
}

function ClusterNodeRow({ node, cluster, rates }: ClusterNodeRowProps) {
  const isAsked = node.instance === cluster?.askedBy.instance;
  const isShared = cluster?.sameId.includes(node.node) === true;
  return (
    <NodeRow
      node={node.node}
      note={[
        isAsked ? "this node" : "",
        isShared ? "another node has the same id" : "",
        node.sameLog === false ? "has another log" : "",
      ]}
      place={`${words(node.host)}, process ${node.pid}`}
      status={node.status}
      rates={rates}
      counter={node.instance}
      heard={instant(cluster?.at)}
    />
  );
}

interface NodeRowProps {
  readonly node: string;
  readonly note?: readonly string[];
  readonly place?: string;
  readonly status: ClusterNode["status"] | NodeStatus;
  readonly rates: Rates;
  readonly counter?: string;
  readonly heard: number | undefined;
}

function NodeRow({ node, note = [], place, status, rates, counter, heard }: NodeRowProps) {
  const { phase, index, progress, verdict, failure } = status;
  const state = stateOf(status);
  const notes = note.filter((text) => text !== "").join(", ");
  return (
    <tr data-node={words(node)} data-state={words(phase)}>
      <th scope="row" title={place}>
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
      <td class="number">{rateOf(status, rates, counter)}</td>
      <td class="number">{phase === "ready" ? "–" : span(progress?.etaMs)}</td>
      <td class="joined">{joined(status)}</td>
      <td>{localTime(heard)}</td>
    </tr>
  );
}

function stateOf({ phase, verdict }: NodeRowProps["status"]): MarkState {
  if (verdict?.state === "failing" || verdict?.state === "attention") return verdict.state;
  if (phase === "ready") return "healthy";
  return phase === "restoring" || phase === "replaying" || phase === "stopping" ? "not-ready" : "unknown";
}

function amount(value: unknown, unit: unknown): string {
  return unit === "bytes" ? amountOfBytes(value) : count(value);
}

function rateOf({ phase }: NodeRowProps["status"], rates: Rates, counter: string | undefined): string {
  if (counter === undefined) return UNKNOWN;
  const bytes = phase === "restoring" ? rates.perSecond(`${counter} bytes`) : undefined;
  if (bytes !== undefined) return `${amountOfBytes(bytes)}/s`;
  return rate(rates.perSecond(`${counter} tx`));
}

function joined({ join, phase }: NodeRowProps["status"]): string {
  const took = join.readyAfterMs === null ? "" : `, ready after ${span(join.readyAfterMs)}`;
  const replayed = `, ${counted(join.replayed, "transaction")} replayed`;
  if (join.restoredFrom !== null) return `from ${words(join.restoredFrom.name)}${replayed}${took}`;
  if (phase === "restoring" || phase === "failed") return UNKNOWN;
  return `from its own index or the log${replayed}${took}`;
}
