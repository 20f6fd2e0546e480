import type { TxId } from "@cairn/client";
import type { TransactionEvent } from "../index/read/transaction-event.ts";

/** Which changes, and from where on. */
export interface WatchQuery {
  /** Only of this bucket. */
  readonly bucket?: string;
  /** Only of this namespace, of `bucket` or of any. */
  readonly namespace?: string;
  /** The transaction after which to begin; what the node has indexed last when left out. One still to come is waited for. */
  readonly from?: TxId;
  /**
   * The time that the watcher knows of transaction `from`. A log that lost its end has others under the same ids: where the time
   * differs, the watcher is told instead of going on in another history.
   */
  readonly fromTime?: string;
  /** After how long without an event a heartbeat comes; 10,000 when left out. */
  readonly heartbeatMs?: number;
  /** Ends the watch, without an error. */
  readonly signal?: AbortSignal;
}

/**
 * Everything up to `txId` was told, so a watch can go on from there. The first event of every watch is one. `ahead`: the watch waits
 * for the transaction that it is to begin after, and `txId` is how far the node is.
 */
export interface HeartbeatEvent {
  readonly type: "heartbeat";
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly ahead?: true;
}

/**
 * The last event: the watch ends, and goes on from `txId` when it is opened again. `slow`: the reader took too little too late;
 * `stopping`, `not-ready`: the node leaves its index, another one has it; `compacted`: the node no longer has what comes next;
 * `regressed`: the log lost what the watcher saw, so there is no going on: list, then follow.
 */
export interface CutoffEvent {
  readonly type: "cutoff";
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly reason: CutoffReason;
  readonly message: string;
}

/** Why a watch was cut off. */
export type CutoffReason = "slow" | "stopping" | "not-ready" | "compacted" | "regressed";

/** What a watch tells. */
export type WatchEvent = TransactionEvent | HeartbeatEvent | CutoffEvent;

/**
 * A watch, to be looped over once, as events or in the arrays in which they come (never empty). Watchers of the same changes are
 * given the same array. Errors come with the first step: `NOT_READY`, `WATCH_COMPACTED`, `REQUEST_INVALID`.
 */
export interface Watch extends AsyncIterable<WatchEvent> {
  batches(): AsyncIterable<readonly WatchEvent[]>;
}
