import type { Position, TxId } from "@cairn/client";
import type { TransactionEvent } from "../index/read/transaction-event.ts";

export interface WatchQuery {
  /** The bucket to watch. Defaults to all buckets. */
  readonly bucket?: string;
  /** The namespace to watch, in `bucket` or in all buckets. Defaults to all namespaces. */
  readonly namespace?: string;
  /**
   * Defaults to the end of the index. The watch waits if this node has not indexed that much of the log yet. It is
   * refused if the log does not contain this position: it would continue in a different history.
   */
  readonly from?: Position;
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

/** A transaction up to which everything was published or delivered; its time is null before the first one. */
export interface WatchedPosition {
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly position: Position;
}

/**
 * An event which means that everything up to `position` has been delivered, so a watch can continue from it. The first
 * event of each watch is a heartbeat. `ahead` means that nothing was delivered yet, for example because the node has not
 * reached the position from which the watch begins, and the event contains the node's own.
 */
export interface HeartbeatEvent extends WatchedPosition {
  readonly type: "heartbeat";
  readonly ahead?: true;
}

/**
 * The last event of a watch. A new watch can continue from `position`. The reason is `slow` if the reader did not keep up,
 * `stopping` or `not-ready` if the node is leaving its index (other nodes can continue), `compacted` if the node no
 * longer has the following changes, and `regressed` if the log lost transactions that the watcher had received. In the
 * last case, the watcher must list the documents and then watch again.
 */
export interface CutoffEvent extends WatchedPosition {
  readonly type: "cutoff";
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
