import type { HeldLease } from "@cairn/checkpoint";
import type {
  AnyOperation,
  CheckpointSummary,
  ClientBuckets,
  ClientEventQuery,
  ClientReadOptions,
  ClusterStatus,
  DocumentKey,
  ListedCheckpoint,
  NodeStatus,
  Phase,
  PolicyState,
  QueueStatus,
  Transaction,
  TxId,
  TxOutcome,
  VerifiedSummary,
} from "@cairn/client";
import type { AppendSequence } from "../log/append-sequence.ts";
import type { FollowEvent, FollowQuery } from "../watch/follow-session.ts";
import type { Watch, WatchQuery } from "../watch/watch-event.ts";
import type { EventPage } from "../index/read/event-reads.ts";
import type { AsOf, DocumentPage, HistoryPage, StoredDocument } from "../index/read/documents.ts";
import type { CommitResult } from "../index/apply/recent-outcomes.ts";
import type { Eviction } from "../index/read/eviction-reads.ts";
import type { ListSelection } from "../index/read/field-query.ts";
import type { FoundEntry, OpenEntriesFound, OpenEntriesQuery } from "../index/read/queue-reads.ts";
import type { IndexQueryOptions } from "../own-indexes/queries/index-queries.ts";
import type { IndexQuery } from "../own-indexes/own-index.ts";
import type { QueryRows } from "../own-indexes/queries/asked-query.ts";

/** What a read must include, and how long it waits for that. */
export interface ReadOptions {
  /** The read waits until this transaction is indexed. Throws TX_TIMEOUT after `timeoutMs`. */
  readonly minTx?: TxId;
  /** The time limit for everything that the read waits for (ms). Defaults to `LIMITS.waitMs`. */
  readonly timeoutMs?: number;
  /** If true, reads the current index even if the node is not ready. If not, NOT_READY is thrown until it is ready. */
  readonly stale?: boolean;
  /**
   * If true, the result includes everything that any node acknowledged before the call. On a shared log this requires
   * an append, which concurrent reads share and whose errors are thrown (LOG_UNREACHABLE, LOG_FULL, …). Throws
   * REQUEST_INVALID if combined with `stale`.
   */
  readonly linearizable?: boolean;
  /**
   * Called once the read waits for nothing else, with the maximum size of its result in bytes and the read's time limit;
   * for one document also with a function that looks up its size. The read begins when the returned promise resolves,
   * and fails if it rejects.
   */
  readonly admit?: (
    bytes: number,
    timeoutMs?: number,
    exact?: (() => Promise<number>) | undefined,
  ) => Promise<void> | undefined;
}

/** The options of reads whose results do not contain their transaction. */
export interface DocumentReadOptions extends ReadOptions {
  /** Called before the result is read, with the transaction as of which it is valid: it is never of an earlier state. */
  readonly onAsOf?: ((txId: TxId) => void) | undefined;
}

export interface ListQuery extends ReadOptions, ListSelection {
  /** The maximum number of documents in a page: 1 to 1,000. Defaults to 100. */
  readonly limit?: number;
  /** The opaque cursor from the previous page. It contains the transaction at which the list began. */
  readonly cursor?: string;
}

export type BucketsPage = ClientBuckets;

export interface OpenEntriesList extends ReadOptions, Omit<OpenEntriesQuery, "limit"> {
  /** The maximum number of entries in a page: 1 to 1,000. Defaults to 100. */
  readonly limit?: number;
}

export type EventListQuery = ReadOptions &
  Omit<ClientEventQuery, keyof ClientReadOptions> & { readonly cursor?: string };

/** An eviction, and the copies of the evicted content that may still exist and that this node cannot remove. */
export interface EvictionPlaces extends Eviction {
  /** The log's transactions up to the eviction; null once they have been trimmed. */
  readonly log: { readonly firstTxId: TxId; readonly lastTxId: TxId } | null;
  /**
   * The checkpoints from before the eviction that may contain the content: all not known to be older than it. Null if
   * the store does not respond.
   */
  readonly checkpoints: readonly string[] | null;
  /**
   * The checkpoints that were saved after the eviction but whose files may contain the content. They do not restore it.
   * Null if the store does not respond.
   */
  readonly inFilesOf: readonly string[] | null;
  /** The oldest checkpoint after the eviction whose files are known to be clean. Null if none is known. */
  readonly firstWithout: string | null;
  /** The segments of log backups that may contain the content. Null if the store does not respond. */
  readonly segments: readonly string[] | null;
  /**
   * The time after which the last of these segments may be removed because of its age; null if there are none, or if
   * they are kept until `cairn log backup prune` removes them.
   */
  readonly segmentsUntil: string | null;
  /** The command that removes these segments; null if none are known. */
  readonly hint: string | null;
}

export interface EvictionsPage {
  readonly evictions: readonly EvictionPlaces[];
  readonly cursor?: string;
}

/** The policies in force, compared with those of this node's configuration. */
export interface NodePolicies extends PolicyState {
  readonly txId: TxId;
  /**
   * The result of comparing the policies with `cairn/policies` in the node's configuration; null if the configuration
   * has none. The log's policies take effect regardless.
   */
  readonly file: "same" | "different" | null;
}

export type CheckpointResult =
  | { readonly checkpoint: CheckpointSummary }
  /** No checkpoint was saved. `empty` means that the log has no transactions yet. */
  | { readonly skipped: "empty" | "unchanged" | "recent" }
  /** `because` is a sentence that names the uploading node; `lease` is its lease if it could be read. */
  | { readonly skipped: "leased"; readonly because: string; readonly lease: HeldLease | null };

/** The result of `submit`, which can be passed to `await`. */
export interface SubmittedTransaction {
  readonly txId: TxId;
  /** The CRC-32 of the message: a log that has lost this message may give its id to another one. */
  readonly checksum: number;
  /** True if the log had stored the transaction already, by its id. */
  readonly isRepeated?: boolean;
}

export interface NodeReadiness extends Pick<NodeStatus, "phase" | "progress" | "failure"> {
  /**
   * How long ago (ms) the index of this ready node lacked nothing that the log then contained, if that is longer than
   * `ready-max-lag`; undefined if not, or if there is no such limit.
   */
  readonly lag: number | undefined;
}

/**
 * A running node, as the HTTP server and embedding programs use it. Every method may throw a CairnError. Codes that are
 * specific to a method are documented there.
 */
export interface NodeApi {
  readonly id: string;
  readonly version: string;
  readonly phase: Phase;
  /** Returns what GET /health/ready answers, in every phase. Does not query the log unless `ready-max-lag` is set. */
  readiness(): Promise<NodeReadiness>;
  status(): Promise<NodeStatus>;
  /**
   * Returns the status of all nodes of the log, in every phase. Waits at most `timeoutMs` (1,000 by default) for the
   * responses to a request. A status that is less than a second old is returned again.
   */
  cluster(options?: { readonly timeoutMs?: number }): Promise<ClusterStatus>;
  /** Returns the metrics of GET /metrics in Prometheus' text format, in every phase. docs/metrics.md lists them. */
  metrics(): Promise<string>;
  /**
   * Resolves once the transaction is in the log. Throws TX_INVALID, TX_TOO_LARGE, CONFLICT (same id, different body),
   * NOT_READY, LOG_UNREACHABLE or LOG_FULL. Throws TX_TIMEOUT after `timeoutMs` (30,000 by default); the transaction
   * may or may not be stored. The log records `by`, 1 to 64 visible ASCII characters, as the writer of the transaction.
   * Transactions of a `sequence` are stored in the order of the calls, up to the first one that is rejected.
   */
  submit(
    transaction: Transaction<AnyOperation>,
    options?: {
      readonly timeoutMs?: number;
      readonly by?: string;
      readonly sequence?: AppendSequence;
    },
  ): Promise<SubmittedTransaction>;
  /**
   * Waits until this node's index contains everything up to `txId`, and returns the last transaction that it contains.
   * Returns it early after `timeoutMs` (30,000 by default), and at once if the node is not ready.
   */
  indexed(txId: TxId, options?: { readonly timeoutMs?: number }): Promise<TxId>;
  /**
   * Waits until this node has indexed a transaction: the one that {@link submit} returned, or any transaction with this
   * id. Throws TX_TIMEOUT after `timeoutMs` (30,000 by default), and LOG_REGRESSED if the log lost the submitted
   * transaction and another one has its id.
   */
  await(
    transaction: SubmittedTransaction | TxId,
    options?: { readonly timeoutMs?: number },
  ): Promise<TxOutcome>;
  /**
   * Does the same as {@link await}. For one of the newest transactions, also returns how many of the keys that it wrote
   * had a document before.
   */
  commitResult(
    transaction: SubmittedTransaction | TxId,
    options?: { readonly timeoutMs?: number },
  ): Promise<CommitResult>;
  /** Undefined if no indexed transaction has that id. Throws OUTCOME_REMOVED if a policy has removed the outcome. */
  outcome(txId: TxId): Promise<TxOutcome | undefined>;
  /**
   * Returns the name that {@link submit} recorded as the writer of a transaction; null if it recorded none. Reads the
   * log, because indexes do not contain writers. Returns undefined if the log no longer contains the transaction.
   */
  writerOf(txId: TxId): Promise<string | null | undefined>;
  /** Waits until this node has indexed what a read with these options must include. */
  prepareRead(options: ReadOptions): Promise<void>;
  /**
   * Returns a document; undefined if there is none. With `asOf`, throws WATCH_COMPACTED if a history policy has removed
   * that version, and OUTCOME_REMOVED if it is a time of which only removed outcomes knew the transactions.
   */
  get(
    key: DocumentKey,
    options?: DocumentReadOptions & { readonly asOf?: AsOf },
  ): Promise<StoredDocument | undefined>;
  /** Returns documents in key order. Throws REQUEST_INVALID for the cursor of another list. */
  list(query: ListQuery): Promise<DocumentPage>;
  /** Returns the versions of a document, newest first; none if the key never had a document, or was evicted. */
  history(
    key: DocumentKey,
    options?: DocumentReadOptions & { readonly limit?: number; readonly cursor?: string },
  ): Promise<HistoryPage>;
  /** Returns the number of documents of every bucket, and of each value of its indexed fields. */
  buckets(options?: ReadOptions): Promise<BucketsPage>;
  /** Returns all queues with their shards, ordered by name (docs/queues.md). */
  queues(options?: ReadOptions): Promise<{ readonly txId: TxId; readonly queues: readonly QueueStatus[] }>;
  /** Returns a queue with its shards. Throws NOT_FOUND if the bucket is not a queue. */
  queue(name: string, options?: ReadOptions): Promise<{ readonly txId: TxId; readonly queue: QueueStatus }>;
  /**
   * Returns a shard's open entries in order of creation, each page as of its own transaction; a watch from the first
   * page's transaction reports an entry that moved in between two pages. Throws NOT_FOUND if the bucket is not a queue
   * or has no such shard, and REQUEST_INVALID for another list's cursor.
   */
  openEntries(query: OpenEntriesList): Promise<OpenEntriesFound>;
  /** Returns a queue's entry, open or finished, in any shard, if any. Throws NOT_FOUND if the bucket is not a queue. */
  entry(
    queue: string,
    name: string,
    options?: ReadOptions,
  ): Promise<{ readonly txId: TxId; readonly entry: FoundEntry | undefined }>;
  events(query?: EventListQuery): Promise<EventPage>;
  /** Returns evictions, newest first, each with the copies of its bytes that may still exist. */
  evictions(
    options?: ReadOptions & { readonly limit?: number; readonly cursor?: string },
  ): Promise<EvictionsPage>;
  /** Returns the policies in force, which are set with the operation `configure`. */
  policies(options?: ReadOptions): Promise<NodePolicies>;
  /**
   * Returns a watch of every change from the position `from` on (by default the end of the index), each once and in the
   * order of the log. See docs/watch.md.
   */
  watch(query?: WatchQuery): Watch;
  /**
   * Returns batches that keep a copy of documents exact, whatever policies remove. They end when the node leaves its
   * index. See docs/watch.md.
   */
  follow(query?: FollowQuery): AsyncIterable<FollowEvent>;
  /**
   * Returns the buckets whose documents an index of one's own gets; undefined if it gets all. Throws NOT_FOUND if the node
   * has no such index.
   */
  indexBuckets(name: string): readonly string[] | undefined;
  /**
   * Queries an index of one's own, in a process of its own. Throws NOT_FOUND if the node has no such index, NOT_READY
   * while it is being built for the first time, OWN_INDEX_FAILED, TX_TIMEOUT if it does not reach `minTx`, OVERLOADED if
   * all processes are busy, QUERY_LIMIT, and REQUEST_INVALID if the query is wrong.
   */
  queryIndex(name: string, query: IndexQuery, options?: IndexQueryOptions): Promise<QueryRows>;
  /** Returns the digest of the logical content, and the transaction at which it was computed. */
  digest(options?: ReadOptions): Promise<{ readonly txId: TxId; readonly digest: string }>;
  /** Returns the checkpoints in the node's store, newest first. Throws NOT_FOUND if no checkpointer is configured. */
  checkpoints(): Promise<readonly ListedCheckpoint[]>;
  /**
   * Saves a checkpoint now, or after the scheduled one that is being saved. `begun` resolves at once (or rejects with
   * CHECKPOINT_RUNNING until another requested one is saved), and `done` when it is saved. Either may be left alone.
   */
  checkpoint(): { readonly begun: Promise<void>; readonly done: Promise<CheckpointResult> };
  /**
   * Verifies and marks a checkpoint in the store, by default the log's newest one. Throws CHECKPOINT_* or INDEX_*
   * errors, and NOT_FOUND if there is no checkpointer.
   */
  verifyCheckpoint(name?: string): Promise<VerifiedSummary>;
  /** Stops the HTTP server first, then the checkpointer, the indexer, the index and the log. May be called twice. */
  close(): Promise<void>;
}
