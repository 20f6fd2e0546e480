import type { ClusterStatus, ClusterNode, TxId } from "@cairn/client";
import { readLogIdentity } from "../log/log-identity.ts";
import type { PeerChannel } from "../log/peer-channel.ts";
import type { TxLog } from "../log/tx-log.ts";
import { type AskOptions, askSilent, askStatus, type Peer } from "./ask-cluster.ts";
import type { SilentNode } from "./peer-messages.ts";
import { madeOnce } from "@cairn/text";

export interface ClusterView {
  /** The log; `id` and `lastTxId` are null if it does not exist, and `name` is null until it is known. */
  readonly log: ClusterStatus["log"];
  /** All nodes that responded, whether they belong to this cluster or to another one whose log has the same name. */
  readonly peers: readonly Peer[];
  /** The nodes of this log that did not respond although other nodes have heard from them within the last hour. */
  readonly silent: readonly SilentNode[];
  readonly past: PastComparison | undefined;
}

/**
 * Returns a predicate for the nodes of this cluster: all but those that follow another log. One that has not joined, or
 * has failed, does not count as such, because it knows at most the log of its index.
 */
export function isMember({ log }: Pick<ClusterView, "log">): (peer: Peer) => boolean {
  return ({ status: { phase, log: its } }) =>
    its.id === log.id || log.id === null || (phase !== "ready" && phase !== "replaying");
}

export async function viewOf(
  channel: PeerChannel,
  log: ClusterView["log"] & { readonly id: string },
  peers: readonly Peer[],
  options: AskOptions,
): Promise<ClusterView> {
  const silent = await askSilent(channel, peers, log.id, options);
  return { log, peers, silent, past: comparePasts(peers.filter(({ status }) => status.log.id === log.id)) };
}

/** Asks the nodes that have a log open. Undefined if none of the log's cluster responds, or none for one without id. */
export async function askCluster(
  log: TxLog,
  channel: PeerChannel,
  options: AskOptions,
): Promise<ClusterView | undefined> {
  const { name } = log;
  const identity = await readLogIdentity(log);
  const peers = await askStatus(channel, options);
  if (identity === undefined) {
    const noIdentity = { name, id: null, lastTxId: null };
    return peers.length === 0 ? undefined : { log: noIdentity, peers, silent: [], past: undefined };
  }
  const { id, bounds, birth } = identity;
  // Only nodes know the offset of a log whose birth record was trimmed.
  const reported = peers.find(({ status }) => status.log.id === id)?.status.log.lastTxId;
  const known = { name, id, lastTxId: reported ?? bounds.last + (birth?.offset ?? 0) };
  if (!peers.some(isMember({ log: known }))) return undefined;
  return await viewOf(channel, known, peers, options);
}

export function sameIds(
  peers: readonly Peer[],
): { readonly node: string; readonly peers: readonly Peer[] }[] {
  const byId = new Map<string, Peer[]>();
  for (const peer of peers) byId.set(peer.node, [...(byId.get(peer.node) ?? []), peer]);
  return [...byId].filter(([, same]) => same.length > 1).map(([node, same]) => ({ node, peers: same }));
}

type Past = NonNullable<ClusterNode["past"]>;

export interface PastComparison {
  readonly txId: TxId;
  /** The histories, by instance. Nodes without a value at the transaction are omitted. */
  readonly pasts: ReadonlyMap<string, Past>;
  /** `history`: different messages. `effects`: different results, derived from the same messages. */
  readonly differ: "history" | "effects" | undefined;
}

/**
 * Compares the histories of nodes at one transaction of which at least two report the chains, which cover everything
 * before it. Those at which nodes differ come first, then those of the most nodes, then the newest.
 */
export function comparePasts(peers: readonly Peer[]): PastComparison | undefined {
  const known = new Map<TxId, Map<string, Past>>();
  for (const { instance, status } of peers) {
    const { chains } = status.index;
    if (status.phase !== "ready" && status.phase !== "replaying") continue;
    for (const value of chains)
      madeOnce(known, value.txId, () => new Map<string, Past>()).set(instance, value);
  }
  return [...known]
    .filter(([, pasts]) => pasts.size > 1)
    .map(([txId, pasts]) => ({ txId, pasts, differ: differenceAmong([...pasts.values()]) }))
    .toSorted((a, b) => b.pasts.size - a.pasts.size || b.txId - a.txId)
    .toSorted((a, b) => Number(a.differ === undefined) - Number(b.differ === undefined))[0];
}

function differenceAmong(pasts: readonly Past[]): PastComparison["differ"] {
  if (new Set(pasts.map(({ history }) => history)).size > 1) return "history";
  return new Set(pasts.map(({ effects }) => effects)).size > 1 ? "effects" : undefined;
}
