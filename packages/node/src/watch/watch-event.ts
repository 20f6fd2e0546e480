import type { TxId } from "@cairn/client";
import type { TransactionEvent } from "../index/read/transaction-event.ts";

/** The changes to watch, and the transaction with which to begin. */
export interface WatchQuery {
  /** The bucket to watch; all by default. */
  readonly bucket?: string;
  /** The namespace to watch, in `bucket` or in all buckets; all by default. */
  readonly namespace?: string;
  /**
   * The transaction after which to begin; by default the last one indexed. If the transaction does not exist yet, the
   * watch waits for it.
   */
  readonly from?: TxId;
  /**
   * The time of transaction `from`, as known to the watcher. A log that lost its end contains other transactions under
   * the same ids: if the time differs, the watch is refused rather than continued in another history.
   */
  readonly fromTime?: string;
  /** The time without an event after which a heartbeat is sent, in milliseconds; 10,000 by default. */
  readonly heartbeatMs?: number;
  /** Aborting this signal ends the watch, without an error. */
  readonly signal?: AbortSignal;
}

/**
 * Everything up to `txId` was delivered, so a watch can continue after it. The first event of each watch is a
 * heartbeat. `ahead` means that the watch waits for the transaction after which it begins, and `txId` is the last
 * transaction of the node.
 */
export interface HeartbeatEvent {
  readonly type: "heartbeat";
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly ahead?: true;
}

/**
 * The last event of a watch. A new watch can continue after `txId`. `slow`: the reader did not keep up; `stopping`,
 * `not-ready`: the node is leaving its index, but other nodes can continue; `compacted`: the node no longer has the
 * following changes; `regressed`: the log lost transactions that the watcher saw, so the watcher must list and then
 * watch.
 */
export interface CutoffEvent {
  readonly type: "cutoff";
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly reason: CutoffReason;
  readonly message: string;
}

/** The reason why a watch was cut off. */
export type CutoffReason = "slow" | "stopping" | "not-ready" | "compacted" | "regressed";

/** An event of a watch. */
export type WatchEvent = TransactionEvent | HeartbeatEvent | CutoffEvent;

/**
 * A watch, which can be iterated once, by event or by batch (never empty). Watchers of the same changes get the same array. The first step
 * throws `NOT_READY`, `WATCH_COMPACTED` or `REQUEST_INVALID`.
 */
export interface Watch extends AsyncIterable<WatchEvent> {
  batches(): AsyncIterable<readonly WatchEvent[]>;
}
