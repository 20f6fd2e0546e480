import type { TxId } from "@cairn/client";
import type { HeartbeatEvent } from "./watch-event.ts";
import { endOfSource, type WatchFeed } from "./watch-feed.ts";
import type { WatchSource } from "./watch-source.ts";

/**
 * Waits until the index contains a transaction: its reader may come from a node that is ahead of this one, or from a log
 * that has lost its end since. After each heartbeat, compares it with the end of the log, and delivers where the node is.
 * Returns false if the log ends before the transaction; otherwise true, also once there is nothing more to wait for.
 */
export async function* awaitPosition(
  feed: WatchFeed,
  txId: TxId,
  { heartbeatMs, signal }: { readonly heartbeatMs: number; readonly signal: AbortSignal | undefined },
  deliver: (waiting: HeartbeatEvent) => void,
): AsyncGenerator<void, boolean> {
  const { source } = feed;
  const isWaiting = (): boolean =>
    source.position.txId < txId && feed.ended === undefined && signal?.aborted !== true;
  while (isWaiting()) {
    await feed.arrival(txId, heartbeatMs, signal);
    if (!isWaiting()) break;
    // A comparison at once could meet the log before it has what the reader received elsewhere.
    const end = await source.logEnd();
    if (end !== undefined && end < txId) return false;
    deliver(nothingYet(source));
    yield;
  }
  return true;
}

/** Nothing was delivered yet, so no reader can resume after this event. */
export function nothingYet(source: WatchSource): HeartbeatEvent {
  return { type: "heartbeat", ...endOfSource(source), ahead: true };
}
