import type { ClusterStatus, ListedCheckpoint, NodeStatus } from "@cairn/client";
import { useMemo } from "preact/hooks";
import { type PolledRequest, usePolled } from "../data/polled.ts";
import { Rates } from "../data/rates.ts";
import { words } from "../text/amounts.ts";
import { instant } from "../text/times.ts";
import { LogPanel } from "./log-panel.tsx";
import { NodesPanel } from "./nodes-panel.tsx";
import { ResourcesPanel } from "./resources-panel.tsx";
import { StorePanel } from "./store-panel.tsx";
import { Findings, Verdict } from "./verdict.tsx";

const MOVING_MS = 1_000;
const RESTING_MS = 2_000;

const CLUSTER: PolledRequest<ClusterStatus> = {
  path: "status/cluster",
  form: "map",
  // A join is followed more closely.
  everyMs: (cluster) =>
    Array.isArray(cluster?.nodes) && cluster.nodes.some((node) => node?.status?.phase !== "ready")
      ? MOVING_MS
      : RESTING_MS,
};
const STATUS: PolledRequest<NodeStatus> = {
  path: "status",
  form: "map",
  everyMs: (status) => (status?.phase === "ready" ? 2 * RESTING_MS : MOVING_MS),
};
const CHECKPOINTS: PolledRequest<readonly ListedCheckpoint[]> = {
  path: "api/v1/checkpoints?timeout=PT5S&stale=true",
  form: "list",
  everyMs: () => 10_000,
};

/** The view of the cluster, in the order in which operators look at it. */
export function ClusterOverview() {
  const cluster = usePolled(CLUSTER);
  const status = usePolled(STATUS);
  const checkpoints = usePolled(CHECKPOINTS);
  const rates = useRates(cluster.value, instant(cluster.value?.at), countersOf);
  const ofProcess = useRates(status.value, status.at, processorOf);
  return (
    <>
      <Verdict cluster={cluster} />
      <Findings cluster={cluster} />
      <NodesPanel cluster={cluster} rates={rates} />
      <div class="columns">
        <LogPanel cluster={cluster} status={status} rates={rates} />
        <ResourcesPanel status={status} rates={ofProcess} />
      </div>
      <StorePanel checkpoints={checkpoints} status={status} />
    </>
  );
}

function useRates<T>(
  answer: T | undefined,
  at: number | undefined,
  countersIn: (answer: T | undefined) => Map<string, unknown>,
): Rates {
  const rates = useMemo(() => new Rates(), []);
  useMemo(() => rates.record(at ?? 0, countersIn(answer)), [answer]);
  return rates;
}

function processorOf(status: NodeStatus | undefined): Map<string, unknown> {
  return new Map([["processor", status?.resources?.processorMs]]);
}

function countersOf(cluster: ClusterStatus | undefined): Map<string, unknown> {
  const counters = new Map<string, unknown>([["log", cluster?.log?.lastTxId]]);
  for (const node of Array.isArray(cluster?.nodes) ? cluster.nodes : []) {
    const instance = words(node?.instance);
    counters.set(`${instance} tx`, node?.status?.index?.txId);
    const { unit, done } = node?.status?.progress ?? {};
    if (unit === "bytes") counters.set(`${instance} bytes`, done);
  }
  return counters;
}
