import type { HeldLease } from "@cairn/checkpoint";
import type {
  CheckpointSummary,
  DocumentKey,
  NodeStatus,
  Phase,
  PolicyState,
  Transaction,
  TxId,
  TxOutcome,
  VerifiedSummary,
} from "@cairn/client";
import type { Watch, WatchQuery } from "../watch/watch-event.ts";
import type { EventPage } from "../index/read/event-reads.ts";
import type { AsOf, DocumentPage, HistoryPage, StoredDocument } from "../index/read/documents.ts";
import type { CommitResult } from "../index/apply/recent-outcomes.ts";
import type { BucketSummary } from "../index/read/bucket-reads.ts";
import type { Eviction } from "../index/read/eviction-reads.ts";
import type { FieldQuery } from "../index/read/field-query.ts";

/** How long reads and writes wait that say nothing of it, in milliseconds. */
export const DEFAULT_WAIT_MS = 30_000;

/** Options that every read takes. */
export interface ReadOptions {
  /** Wait until this transaction is indexed (TX_TIMEOUT after `timeoutMs`). */
  readonly minTx?: TxId;
  /** How long to wait for whatever the answer needs beside the index: {@link DEFAULT_WAIT_MS} when left out. */
  readonly timeoutMs?: number;
  /** Read what is there though the node is not ready (else NOT_READY). */
  readonly stale?: boolean;
  /**
   * Include everything that any node acknowledged before the call. On a shared log that takes an append, which concurrent reads share: what
   * keeps the log from storing it is thrown (LOG_UNREACHABLE, LOG_FULL, …). REQUEST_INVALID together with `stale`.
   */
  readonly linearizable?: boolean;
}

/** Which documents of a bucket. */
export interface ListQuery extends ReadOptions {
  readonly bucket: string;
  readonly namespace?: string;
  /** Names (within `namespace`, else of any) that begin with it. */
  readonly prefix?: string;
  /** 1 to 1,000; default 100. */
  readonly limit?: number;
  /** From the answer before; opaque, names the transaction that the list began at. */
  readonly cursor?: string;
  readonly asOf?: AsOf;
  /** Only those whose indexed fields have the values, each field named once. REQUEST_INVALID where one is not indexed, NOT_READY while its index is built. */
  readonly where?: FieldQuery | readonly FieldQuery[];
}

/** Buckets by name, as of `txId`. */
export interface BucketsPage {
  readonly txId: TxId;
  readonly buckets: readonly BucketSummary[];
}

/** Which events; all when left out. */
export interface EventListQuery extends ReadOptions {
  /** 1 to 1,000; 100 when left out. */
  readonly limit?: number;
  /** Of objects of this bucket. */
  readonly bucket?: string;
  readonly object?: string;
  /** Older than this: an event's id, or a time in nanoseconds since 1970. */
  readonly before?: string;
}

/** Something evicted, and where copies of it may be that this node cannot remove. */
export interface EvictionPlaces extends Eviction {
  /** The log's transactions up to the eviction, until they are trimmed; null when they are. */
  readonly log: { readonly firstTxId: TxId; readonly lastTxId: TxId } | null;
  /** Checkpoints of this log that may still give it back: saved before the eviction, and not known to be older than what it removed. Null when the store does not answer. */
  readonly checkpoints: readonly string[] | null;
  /** Checkpoints saved since, which do not give it back, but in whose files a search may find it. Null when the store does not answer. */
  readonly inFilesOf: readonly string[] | null;
  /** The oldest checkpoint saved since of whose files it is known that they hold nothing of it. Null when there is none, or the store does not answer. */
  readonly firstWithout: string | null;
}

/** A page of evictions, newest first. */
export interface EvictionsPage {
  readonly evictions: readonly EvictionPlaces[];
  readonly cursor?: string;
}

/** The policies in force, and what this node's own configuration proposes. */
export interface NodePolicies extends PolicyState {
  readonly txId: TxId;
  /** `same` or `different` from `cairn/policies` of the node's file; null where it has none. The log's are followed either way. */
  readonly file: "same" | "different" | null;
}

/** What became of a checkpoint asked for. */
export type CheckpointResult =
  | { readonly checkpoint: CheckpointSummary }
  /** `empty`: the log has no transactions yet. */
  | { readonly skipped: "empty" | "unchanged" | "recent" }
  /** Somebody else is uploading one: who, in a sentence and, where it could be read, in parts. */
  | { readonly skipped: "leased"; readonly because: string; readonly lease: HeldLease | null };

/** A running node, for HTTP and for programs that embed one. Every method may throw CairnError; codes are named where they are special. */
export interface NodeApi {
  readonly id: string;
  readonly version: string;
  readonly phase: Phase;
  status(): Promise<NodeStatus>;
  /** What GET /metrics answers: Prometheus' text format, in every phase. docs/metrics.md lists what is in it. */
  metrics(): Promise<string>;
  /**
   * Answers once the log has the transaction. TX_INVALID, TX_TOO_LARGE, CONFLICT (same id, another body), NOT_READY, LOG_UNREACHABLE,
   * LOG_FULL; TX_TIMEOUT after `timeoutMs` (default 30,000), then it may or may not be stored.
   */
  submit(
    transaction: Transaction,
    options?: { readonly timeoutMs?: number },
  ): Promise<{ readonly txId: TxId }>;
  /** Waits until this node has indexed `txId`. TX_TIMEOUT after `timeoutMs` (default 30,000). */
  await(txId: TxId, options?: { readonly timeoutMs?: number }): Promise<TxOutcome>;
  /** As {@link await}; for one of the newest transactions, also how many of the keys that it wrote had a document before. */
  commitResult(txId: TxId, options?: { readonly timeoutMs?: number }): Promise<CommitResult>;
  /** What became of an indexed transaction; undefined when there was none of that id or it is not indexed yet. */
  outcome(txId: TxId): Promise<TxOutcome | undefined>;
  /** Waits until this node has indexed what a read with these options has to include, whatever it is a read of. */
  prepareRead(options: ReadOptions): Promise<void>;
  /** Undefined where there is none. With `asOf`: WATCH_COMPACTED where a history policy has removed the answer. */
  get(
    key: DocumentKey,
    options?: ReadOptions & { readonly asOf?: AsOf },
  ): Promise<StoredDocument | undefined>;
  /** In key order. REQUEST_INVALID for a cursor of another list. */
  list(query: ListQuery): Promise<DocumentPage>;
  /** Newest first; empty where the key never had a document, or was evicted. */
  history(
    key: DocumentKey,
    options?: ReadOptions & { readonly limit?: number; readonly cursor?: string },
  ): Promise<HistoryPage>;
  /** Every bucket with its number of documents, and how many have each value of its indexed fields. */
  buckets(options?: ReadOptions): Promise<BucketsPage>;
  /** Recorded events, newest first. */
  events(query?: EventListQuery): Promise<EventPage>;
  /** What was evicted, newest first, and where its bytes may still be. */
  evictions(
    options?: ReadOptions & { readonly limit?: number; readonly cursor?: string },
  ): Promise<EvictionsPage>;
  /** The policies in force. They are set with the operation `configure`. */
  policies(options?: ReadOptions): Promise<NodePolicies>;
  /** Every change from `from` on (default: from now on), once and in the order of the log. docs/watch.md tells what it gives. */
  watch(query?: WatchQuery): Watch;
  /** Over the logical content at the transaction it names. */
  digest(options?: ReadOptions): Promise<{ readonly txId: TxId; readonly digest: string }>;
  /** Newest first. NOT_FOUND when no checkpointer is configured. */
  checkpoints(): Promise<readonly CheckpointSummary[]>;
  /** Saves a checkpoint now. `begun` resolves once the round has begun (CHECKPOINT_RUNNING while one runs), `done` when it ended. */
  checkpoint(): { readonly begun: Promise<void>; readonly done: Promise<CheckpointResult> };
  /** Reads a checkpoint of the store back (the log's newest when left out) and marks it. CHECKPOINT_*, INDEX_*, NOT_FOUND without a checkpointer. */
  verifyCheckpoint(name?: string): Promise<VerifiedSummary>;
  /** Stops in order: HTTP, checkpointer, indexer, index, log. Twice is fine. */
  close(): Promise<void>;
}
