import type { ClusterFinding, ClusterStatus, ClusterVerdict } from "@cairn/client";
import type { Peer } from "./ask-cluster.ts";
import type { PastComparison } from "./compare-pasts.ts";
import { sameIds } from "./judge-digests.ts";
import type { SilentNode } from "./peer-messages.ts";

export interface ClusterView {
  /** The log; `id` and `lastTxId` are null if it does not exist, and `name` is null until it is known. */
  readonly log: ClusterStatus["log"];
  /** All nodes that responded, whether they belong to this cluster or to another one whose log has the same name. */
  readonly peers: readonly Peer[];
  /** The nodes of this log that did not respond although other nodes have heard from them within the last hour. */
  readonly silent: readonly SilentNode[];
  /** The comparison of the nodes' pasts; undefined if there are fewer than two nodes to compare. */
  readonly past: PastComparison | undefined;
}

/** Returns a predicate that is true for the nodes that have this log open. */
export function hasLog({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status }) => log.id !== null && status.log.id === log.id;
}

/**
 * Returns a predicate that is true for the nodes that belong to this cluster. A node that has not joined, or has
 * failed, knows at most the log of its index. Therefore only a node that follows another log belongs to another
 * cluster.
 */
export function isMember({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status: { phase, log: its } }) =>
    its.id === log.id || log.id === null || (phase !== "ready" && phase !== "replaying");
}

/** Returns a view, its findings and its verdict in the form of GET /status/cluster. */
export function clusterStatus(
  { log, peers, silent, past }: ClusterView,
  findings: readonly ClusterFinding[],
  verdict: ClusterVerdict,
  at: string,
): Omit<ClusterStatus, "askedBy"> {
  return {
    at,
    verdict,
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
