import type { ClusterFinding, ClusterStatus } from "@cairn/client";
import { finding, type NODE_FINDINGS, SAME_ID_HINT, verdictOf, worstFirst } from "../findings/findings.ts";
import { formatCount, formatDuration, formatNumberOf, formatTime } from "@cairn/text";
import type { Peer } from "./ask-cluster.ts";
import { type ClusterView, isMember, sameIds, type PastComparison } from "./cluster-view.ts";

const SILENT_HINT =
  "Resume or restart a node that is frozen, was killed, or is cut off from NATS. The other nodes forget it after an hour. If only its network is slow, allow more time: cairn status --cluster --timeout PT10S.";
const DIFFERENT_PAST_HINT =
  "Wait a few minutes and run the command again: one after another, the nodes compare their indexes with a rebuild from the log and replace a wrong one. " +
  "To compare them now, run cairn status --cluster --digest.";
const OVERDUE = "checkpoint-overdue" satisfies keyof typeof NODE_FINDINGS;
const SAME_ID = "same-node-id" satisfies keyof typeof NODE_FINDINGS;
/** How many digits of a digest are shown, which is enough to distinguish a few digests. */
const SHOWN_DIGITS = 12;

/** Returns what needs attention, worst first: what nodes find, and what only a comparison shows. `now` is in ms. */
export function clusterFindings(view: ClusterView, now: number): ClusterFinding[] {
  const members = view.peers.filter(isMember(view));
  const newest = Math.max(0, ...members.map(newestCheckpoint));
  const shared = new Set(sameIds(view.peers).map(({ node }) => node));
  const own = members.flatMap(({ node, status: { findings } }) =>
    findings
      .filter(({ code }) => code !== OVERDUE && !(code === SAME_ID && shared.has(node)))
      .map((one) => ({ ...one, node })),
  );
  // The checkpoint is that of the cluster. A node may not have looked at the store since another one saved a newer one.
  const overdue = members
    .filter((peer) => newestCheckpoint(peer) === newest)
    .flatMap(({ status: { findings } }) => findings.filter(({ code }) => code === OVERDUE))
    .slice(0, 1)
    .map((one) => ({ ...one, node: null }));
  const silent = view.silent.map(({ node, forMs }) => ({
    ...finding("node-silent", {
      message: `no response; last heard from ${formatDuration(forMs)} ago.`,
      hint: SILENT_HINT,
      since: new Date(now - forMs).toISOString(),
    }),
    node,
  }));
  return worstFirst([
    ...sameIdFindings(view.peers),
    ...own,
    ...silent,
    ...pastFindings(view.past, members),
    ...overdue,
  ]);
}

/** Returns a view in the form of GET /status/cluster, with its verdict. `known` are findings in addition to its own. */
export function clusterStatus(
  view: ClusterView,
  now: number,
  known: readonly ClusterFinding[] = [],
): Omit<ClusterStatus, "askedBy"> {
  const { log, peers, silent, past } = view;
  const members = peers.filter(isMember(view));
  const ready = members.filter(({ status }) => status.phase === "ready").length;
  const others = members.length - ready;
  // If the others could not be asked, one of them may be ready.
  const unserved = ready > 0 || others === 0 || known.length > 0 ? [] : [noneReady(others)];
  const findings = worstFirst([...known, ...clusterFindings(view, now), ...unserved]);
  const joining = others === 0 ? "" : `, and ${formatCount(others)} not yet`;
  const message = `${formatNumberOf(ready, "node")} ${ready === 1 ? "is" : "are"} ready${joining}.`;
  return {
    at: new Date(now).toISOString(),
    verdict: verdictOf(findings, ready > 0, message),
    log,
    nodes: peers.map((peer) => ({
      ...peer,
      sameLog: log.id === null || peer.status.log.id === null ? null : peer.status.log.id === log.id,
      past: past?.pasts.get(peer.instance) ?? null,
    })),
    silent,
    sameId: sameIds(peers).map(({ node }) => node),
    past: past === undefined ? null : { txId: past.txId, differ: past.differ ?? null },
    findings,
  };
}

function noneReady(responded: number): ClusterFinding {
  const message = `No node is ready yet; ${formatNumberOf(responded, "node")} responded.`;
  const hint = "Remove what other findings name, and wait until a node is ready: cairn status --wait PT30S.";
  return { ...finding("no-node-ready", { message, hint }), node: null };
}

function newestCheckpoint({ status: { checkpoints } }: Peer): number {
  return checkpoints.last?.txId ?? 0;
}

function sameIdFindings(peers: readonly Peer[]): ClusterFinding[] {
  return sameIds(peers).map(({ node, peers: same }) => {
    const where = same.map(
      ({ host, pid, startedAt }) => `on ${host} (process ${pid}, since ${formatTime(startedAt)})`,
    );
    const message = `${node} is the id of ${same.length} nodes, ${where.join(" and ")}.`;
    return { ...finding(SAME_ID, { message, hint: SAME_ID_HINT }), node: null };
  });
}

function pastFindings(past: PastComparison | undefined, peers: readonly Peer[]): ClusterFinding[] {
  const { txId, pasts, differ } = past ?? {};
  if (txId === undefined || pasts === undefined || differ === undefined) return [];
  const shown = peers.flatMap(({ node, instance }) => {
    const one = pasts.get(instance);
    return one === undefined ? [] : [`${node} has ${differ} ${one[differ].slice(0, SHOWN_DIGITS)}`];
  });
  const [code, what] =
    differ === "history"
      ? ["LOG_DIFFERENT", "have different transactions"]
      : ["INDEX_CORRUPT", "computed different results from the same transactions"];
  const message = `The nodes ${what} at transaction ${formatCount(txId)}: ${shown.join(", ")}.`;
  return [{ ...finding("histories-differ", { code, message, hint: DIFFERENT_PAST_HINT }), node: null }];
}
