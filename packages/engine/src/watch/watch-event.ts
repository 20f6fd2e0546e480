import type { TxId } from "@cairn/client";
import type { TransactionEvent } from "../index/read/transaction-event.ts";

/** The changes to watch, and the transaction with which to begin. */
export interface WatchQuery {
  /** The bucket to watch. Defaults to all buckets. */
  readonly bucket?: string;
  /** The namespace to watch, in `bucket` or in all buckets. Defaults to all namespaces. */
  readonly namespace?: string;
  /** Defaults to the last one that is indexed. The watch waits for a transaction that does not exist yet. */
  readonly from?: TxId;
  /**
   * The time of transaction `from`, as the watcher knows it. A log that lost its end has others with the same ids, so a
   * watch whose time differs is refused instead of being continued in a different history.
   */
  readonly fromTime?: string;
  /** The time without an event after which a heartbeat is sent, in milliseconds. Defaults to 10,000. */
  readonly heartbeatMs?: number;
  /** Aborting this signal ends the watch, without an error. */
  readonly signal?: AbortSignal;
  /** The connection to which the events are written, if there is one. */
  readonly connection?: WatchConnection;
}

/** A connection that is closed if it holds up memory for which other watchers wait. */
export interface WatchConnection {
  /** The time since which it has taken nothing (`performance.now()`); undefined while it is not waited for. */
  readonly stalledSince: number | undefined;
  close(): void;
}

/**
 * An event which means that everything up to `txId` has been delivered, so a watch can continue after it. The first
 * event of each watch is a heartbeat. `ahead` means that the watch waits for the transaction after which it begins, and
 * `txId` is the last transaction of the node.
 */
export interface HeartbeatEvent {
  readonly type: "heartbeat";
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly ahead?: true;
}

/**
 * The last event of a watch. A new watch can continue after `txId`. The reason is `slow` if the reader did not keep up,
 * `stopping` or `not-ready` if the node is leaving its index (other nodes can continue), `compacted` if the node no
 * longer has the following changes, and `regressed` if the log lost transactions that the watcher had received. In the
 * last case, the watcher must list the documents and then watch again.
 */
export interface CutoffEvent {
  readonly type: "cutoff";
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly reason: CutoffReason;
  readonly message: string;
}

/** Why a watch ended; {@link CutoffEvent} says what each reason means. */
export type CutoffReason = "slow" | "stopping" | "not-ready" | "compacted" | "regressed";

export type WatchEvent = TransactionEvent | HeartbeatEvent | CutoffEvent;

/**
 * A watch. It can be iterated once, either by event or by batch. Batches are never empty, and watchers of the same
 * changes receive the same array. The first step may throw `NOT_READY`, `WATCH_COMPACTED` or `REQUEST_INVALID`.
 */
export interface Watch extends AsyncIterable<WatchEvent> {
  batches(): AsyncIterable<readonly WatchEvent[]>;
}
