import type { PeerChannel } from "../log/peer-channel.ts";
import { askStatus } from "./ask-cluster.ts";

const STATUS_MS = 1_000;

/** The state of a node that is comparing its index with a rebuild or waiting for its turn to do so. */
export interface Turn {
  readonly instance: string;
  /** The number of other nodes from which the node differs. */
  readonly from: number;
  readonly state: "waiting" | "comparing";
}

/**
 * Returns whether this node must wait before it compares its index with a rebuild, because another node is comparing or
 * goes first. The node that differs from the most others goes first. The number of differences does not prove that a
 * node is wrong, but this order makes it likely that a wrong node is checked early. If several nodes begin at the same
 * time, only one of them continues.
 */
export async function othersFirst(
  channel: PeerChannel | undefined,
  own: Turn,
  signal: AbortSignal,
): Promise<boolean> {
  if (channel === undefined) return false;
  const peers = await askStatus(channel, { timeoutMs: STATUS_MS, signal });
  return peers.some(({ instance, status: { index } }) => {
    const { state, from = 0 } = index.divergence ?? {};
    if (instance === own.instance || (state !== "comparing" && state !== "waiting")) return false;
    if (state === "comparing" && own.state === "waiting") return true;
    const isFirst = from > own.from || (from === own.from && instance < own.instance);
    return state === own.state && isFirst;
  });
}
