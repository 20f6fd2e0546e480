import type { Policies } from "./policies.ts";

/** A transaction's id: its position in the log plus the log's offset. It is a safe integer. */
export type TxId = number;

/**
 * A place in the history of a log, after a transaction; `0` is before the first one. It is opaque, and distinguishes the
 * transaction from another one with the same id in the history of a log that lost its end.
 */
export type Position = string;

/** The id of the transaction that last wrote a key. */
export type Revision = TxId;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** The key of a document. Keys are ordered by bucket, namespace and name, each by its UTF-8 bytes. */
export interface DocumentKey {
  readonly bucket: string;
  readonly namespace: string;
  readonly name: string;
}

/** An event of an application, recorded with POST /api/v1/events or the operation `event`. */
export interface EventRecord {
  /** The object that the event concerns, such as `default/web-0` or `pod/web-0`. */
  readonly object: string;
  /** The reason in one word, such as `Scheduled`. */
  readonly reason: string;
  readonly message?: string;
  readonly bucket?: string;
  /**
   * Nanoseconds since 1970 as digits, because a JSON number would lose precision. Defaults to the transaction's time.
   */
  readonly time?: string;
  /** The type of the event, such as `Normal` or `Warning`. */
  readonly type?: string;
  readonly source?: string;
}

/**
 * One operation, in the form of POST /api/v1/tx. `key` is `namespace/name` (split at the first `/`), or a name alone,
 * which is in the namespace `default`. `match` aborts the transaction unless the key is at that revision (null if it
 * does not exist). `configure` sets the policies. With a revision, it aborts the transaction unless the policies are at
 * that revision (null if they were never set). `enqueue` puts a new entry into a shard of a queue (docs/queues.md).
 */
export type TxOperation =
  | readonly ["put", bucket: string, key: string, document: Json]
  | readonly ["delete", bucket: string, key: string]
  | readonly ["match", bucket: string, key: string, revision: Revision | null]
  | readonly ["evict", bucket: string, key: string]
  | readonly ["event", event: EventRecord]
  | readonly ["configure", policies: Policies, revision?: Revision | null]
  | readonly ["enqueue", queue: string, name: string, document: Json];

/**
 * One operation of a program that works on the shards of a queue itself (docs/queues.md#operations), as directors do. An
 * epoch is the id of the transaction that claimed a shard, or began to drain it; a hold also names its holder. Entries are
 * put and deleted like documents, with the hold of their shard.
 */
export type QueueOperation =
  | readonly ["put", queue: string, key: string, document: Json, hold: EntryOptions]
  | readonly ["delete", queue: string, key: string, hold: EntryOptions]
  | readonly ["claim" | "drain", queue: string, shard: number, options: { readonly as: string }]
  | readonly ["renew" | "release" | "retire", queue: string, shard: number, hold: TxId | EntryOptions]
  | readonly ["move", queue: string, key: string, toShard: number, hold: TxId | EntryOptions];

export type AnyOperation = TxOperation | QueueOperation;

/** The hold of a shard of a queue with which an operation is written. */
export interface EntryOptions {
  /** The epoch of the shard. The transaction is aborted unless it is the newest. */
  readonly epoch: TxId;
  /**
   * The name of the shard's holder. If present, the transaction is aborted unless this is still the holder. Once a log
   * has lost its end, another holder's claim may have the same epoch.
   */
  readonly as?: string;
}

/**
 * Operations of which either all or none take effect. If the client chooses an `id`, they are applied once, however
 * often they are submitted. A `Transaction<AnyOperation>` may also work on the shards of queues.
 */
export interface Transaction<Operation extends AnyOperation = TxOperation> {
  readonly ops: readonly Operation[];
  /** The idempotency id, of at most 256 bytes of UTF-8. */
  readonly id?: string;
}

/** The outcome of a transaction: it was committed, or aborted for a reason. */
export type TxOutcome = AnyOutcome &
  (
    | { readonly committed: true; readonly reason?: undefined }
    | { readonly committed: false; readonly reason: string }
  );

/** What every outcome has. `txTime` is in ISO 8601 and UTC, with milliseconds. */
interface AnyOutcome {
  readonly txId: TxId;
  readonly txTime: string;
  /** The position after the transaction, from which a watch can begin. */
  readonly position: Position;
  /**
   * The earlier transaction with the same idempotency id and content, to which `committed` refers, if this one was stored
   * nevertheless. Usually a repetition is not stored, and has the outcome of the first.
   */
  readonly duplicateOf?: TxId;
  /** The shards into which the transaction's enqueued entries went, in the order of its operations. */
  readonly shards?: readonly number[];
  /**
   * The name of the token with which the transaction was submitted, if it was requested; null if the token has no name.
   * Absent if the log no longer contains the transaction.
   */
  readonly by?: string | null;
}

/** The response to a batch of lines, of which each is a transaction. */
export interface BatchResult {
  readonly accepted: number;
  readonly firstTxId: TxId | null;
  readonly lastTxId: TxId | null;
  /** The number of accepted transactions that were aborted; absent if the outcomes were not awaited. */
  readonly aborted?: number;
  /** Their lines, in order; at most 10,000 of them. */
  readonly abortedLines?: readonly AbortedLine[];
}

/** A line whose transaction is stored, but was aborted. */
export interface AbortedLine {
  readonly line: number;
  readonly txId: TxId;
  readonly reason: string;
}
