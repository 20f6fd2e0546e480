import type { ChainValue, TxId } from "@cairn/client";
import { linkBefore } from "../index/chains/chain-window.ts";
import type { PeerChannel } from "../log/peer-channel.ts";
import { askEach, type AskOptions, type Peer } from "./ask-cluster.ts";
import type { IndexAnswer } from "./peer-messages.ts";

/** The histories of the nodes of one log at one transaction. */
export interface PastComparison {
  readonly txId: TxId;
  /** The histories, by instance. Nodes without a value at the transaction are omitted. */
  readonly pasts: ReadonlyMap<string, Past>;
  /** `history`: different messages. `effects`: one index version derived different results from the same messages. */
  readonly differ: "history" | "effects" | undefined;
}

/** A node's chains at the transaction, and the version of its index. */
export interface Past extends ChainValue {
  readonly version: number;
}

/**
 * Compares the histories of these nodes at the newest transaction that all of them have. The chains' value at that
 * transaction covers everything before it. Returns undefined if fewer than two nodes follow the log. This takes one
 * request, or two if a node is far behind the others.
 */
export async function comparePasts(
  channel: PeerChannel,
  log: string,
  peers: readonly Peer[],
  options: AskOptions,
): Promise<PastComparison | undefined> {
  const following = peers.filter(({ status: { phase } }) => phase === "ready" || phase === "replaying");
  const txId = Math.min(...following.map(({ status }) => status.index.txId ?? 0));
  if (following.length < 2 || txId === 0) return undefined;
  const pastsOf = async (at: TxId): Promise<Map<string, Past>> =>
    pastsAt(at, await askEach(channel, following, { ask: "chains", log, txId: at }, options));
  const there = await pastsOf(txId);
  // Nodes that are far ahead know only the links before this transaction.
  const link = linkBefore(txId);
  const isComplete = there.size === following.length || link === 0;
  const past = isComplete ? { txId, pasts: there } : { txId: link, pasts: await pastsOf(link) };
  const best = past.pasts.size >= there.size ? past : { txId, pasts: there };
  return { ...best, differ: differenceAmong([...best.pasts.values()]) };
}

function pastsAt(txId: TxId, answers: ReadonlyMap<string, IndexAnswer>): Map<string, Past> {
  const pasts = new Map<string, Past>();
  for (const [instance, { chains }] of answers) {
    const value = chains?.values.find((one) => one.txId === txId);
    if (chains !== undefined && value !== undefined)
      pasts.set(instance, { ...value, version: chains.version });
  }
  return pasts;
}

function differenceAmong(pasts: readonly Past[]): PastComparison["differ"] {
  if (new Set(pasts.map(({ history }) => history)).size > 1) return "history";
  const versions = new Set(pasts.map(({ version }) => version));
  const effects = new Set(pasts.map((past) => `${past.version} ${past.effects}`));
  return effects.size > versions.size ? "effects" : undefined;
}
