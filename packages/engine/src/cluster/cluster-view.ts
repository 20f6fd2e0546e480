import type { ClusterStatus } from "@cairn/client";
import type { PeerChannel } from "../log/peer-channel.ts";
import { type AskOptions, askSilent, type Peer } from "./ask-cluster.ts";
import { comparePasts, type PastComparison } from "./compare-pasts.ts";
import type { SilentNode } from "./peer-messages.ts";

/** What one question to all nodes of a log found. */
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
 * Returns a predicate for the nodes of this cluster: all but those that follow another log. One that has not joined, or
 * has failed, does not count as such, because it knows at most the log of its index.
 */
export function isMember({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status: { phase, log: its } }) =>
    its.id === log.id || log.id === null || (phase !== "ready" && phase !== "replaying");
}

/** Compares these nodes of a log, and finds those that do not respond. */
export async function viewOf(
  channel: PeerChannel,
  log: ClusterView["log"] & { readonly id: string },
  peers: readonly Peer[],
  options: AskOptions,
): Promise<ClusterView> {
  const silent = await askSilent(channel, peers, log.id, options);
  return { log, peers, silent, past: comparePasts(peers.filter(hasLog({ log }))) };
}

interface SameId {
  readonly node: string;
  readonly peers: readonly Peer[];
}

/** Returns the ids that several running nodes share. */
export function sameIds(peers: readonly Peer[]): SameId[] {
  const byId = new Map<string, Peer[]>();
  for (const peer of peers) byId.set(peer.node, [...(byId.get(peer.node) ?? []), peer]);
  return [...byId].filter(([, same]) => same.length > 1).map(([node, same]) => ({ node, peers: same }));
}
