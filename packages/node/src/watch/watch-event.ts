import { CairnError } from "@cairn/kv";
import type { DocumentKey, Revision, TxId } from "../tx-log/transaction.ts";

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

/** What a transaction did to one key. `revision` is the transaction's id. Only a put has `json`, the document's text. */
export interface WatchChange extends DocumentKey {
  readonly op: "put" | "delete" | "evict";
  readonly revision: Revision;
  readonly json?: string;
}

const CHANGE_OVERHEAD = 128;

/** About how much memory a change takes: one formula for whoever adds to what is bounded, and takes away again. */
export function changeBytes({ json = "", namespace, name }: WatchChange): number {
  return json.length + namespace.length + name.length + CHANGE_OVERHEAD;
}

/** The same of several. */
export function changesBytes(changes: readonly WatchChange[]): number {
  let bytes = 0;
  for (const change of changes) bytes += changeBytes(change);
  return bytes;
}

/** A transaction that changed something that is watched: all of it that is, in the order of its operations. */
export interface TransactionEvent {
  readonly type: "tx";
  readonly txId: TxId;
  readonly txTime: string;
  readonly changes: readonly WatchChange[];
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
 * given the same array. Errors come with the first step: `NOT_READY`, `WATCH_COMPACTED`, `TX_INVALID`.
 */
export interface Watch extends AsyncIterable<WatchEvent> {
  batches(): AsyncIterable<readonly WatchEvent[]>;
}

/** `WATCH_COMPACTED`; `floor` is the earliest transaction after which a watch can still begin. */
export class WatchCompactedError extends CairnError {
  readonly floor: TxId;
  readonly reason: "compacted" | "regressed";

  constructor(message: string, floor: TxId, reason: WatchCompactedError["reason"]) {
    super("WATCH_COMPACTED", message, {
      hint: "List what is there now, then watch from the transaction that the list names (its header Cairn-Tx). With commands: note the transaction that cairn status shows, then cairn list, then cairn watch --from it.",
    });
    this.floor = floor;
    this.reason = reason;
  }
}

/** The history that begins behind `floor` does not reach back to `after`. */
export function compacted(after: TxId, floor: TxId): WatchCompactedError {
  return new WatchCompactedError(
    `This node no longer has all changes after transaction ${after}: a watch can begin at ${floor} or later.`,
    floor,
    "compacted",
  );
}

/** The log lost its end and wrote another one since the watcher saw transaction `from`. */
export function regressed(from: TxId, floor: TxId): WatchCompactedError {
  return new WatchCompactedError(
    `Transaction ${from} is another one than the watcher saw: the log lost its end and what the watcher saw of it.`,
    floor,
    "regressed",
  );
}
