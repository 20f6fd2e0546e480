import type { HeldLease, StoreFindings } from "@cairn/checkpoint";
import type { Watch, WatchQuery } from "./watch/watch-event.ts";
import type { EventPage } from "./index-store/event-reads.ts";
import type { BucketsPage, EventListQuery, EvictionsPage, NodePolicies } from "./state-api.ts";
import type { FieldQuery } from "./index-store/list-where.ts";
import type { DocumentKey, Revision, Transaction, TxId, TxOutcome } from "./tx-log/transaction.ts";

/** Where a node is in its life. `failed`: it stopped itself and says why in `failure`; health stays live, ready does not. */
export type Phase = "restoring" | "replaying" | "ready" | "stopping" | "failed";

/** A stored document. `json` is its text, exactly as JSON.stringify wrote it. */
export interface StoredDocument extends DocumentKey {
  readonly revision: Revision;
  readonly json: string;
}

/** One version of a key. A deletion has no `json`. */
export interface DocumentVersion {
  readonly revision: Revision;
  readonly txTime: string;
  readonly deleted: boolean;
  readonly json?: string;
}

/** A point in the past: a transaction, or the last one whose time is not after an ISO-8601 instant. */
export type AsOf = { readonly txId: TxId } | { readonly time: string };

/** Options that every read takes. */
export interface ReadOptions {
  /** Wait until this transaction is indexed (TX_TIMEOUT after `timeoutMs`, default 30,000). */
  readonly minTx?: TxId;
  readonly timeoutMs?: number;
  /** Read what is there though the node is not ready (else NOT_READY). */
  readonly stale?: boolean;
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
  /** Only those whose indexed field has the value. TX_INVALID where it is not indexed, NOT_READY while its index is built. */
  readonly where?: FieldQuery;
}

/** A page of documents in key order, all as of `txId`. */
export interface DocumentPage {
  readonly txId: TxId;
  readonly documents: readonly StoredDocument[];
  /** There is more. */
  readonly cursor?: string;
}

/** A page of a key's versions, newest first. */
export interface HistoryPage {
  readonly versions: readonly DocumentVersion[];
  readonly cursor?: string;
}

/** A checkpoint as GET /api/v1/checkpoints lists it. */
export interface CheckpointSummary {
  readonly name: string;
  readonly txId: TxId;
  /** By the store's clock. */
  readonly takenAt: string;
  /** Of the archive. */
  readonly bytes: number;
  /** Who saved it. */
  readonly node: string;
  readonly logId: string;
  readonly documents: number;
}

/** A checkpoint that was read back, opened and found whole; `verifiedAt` by the store's clock, `digest` that of its content. */
export interface VerifiedSummary {
  readonly name: string;
  readonly txId: TxId;
  readonly verifiedAt: string;
  readonly node: string;
  readonly digest: string;
}

/** GET /status; docs/http.md explains each field. Null where there is none. */
export interface NodeStatus {
  readonly node: string;
  readonly version: string;
  readonly phase: Phase;
  readonly log: {
    readonly name: string;
    readonly id: string | null;
    readonly firstTxId: TxId | null;
    readonly lastTxId: TxId | null;
    readonly reachable: boolean;
  };
  readonly index: {
    readonly txId: TxId;
    readonly txTime: string | null;
    readonly documents: number;
    readonly bytes: number;
    readonly version: number;
    readonly lag: number | null;
    /** Its files were removed under the running node; left out where all is well. */
    readonly warning?: { readonly code: string; readonly message: string; readonly hint: string };
  };
  readonly join: {
    readonly restoredFrom: { readonly name: string; readonly store: string; readonly txId: TxId } | null;
    /** Newest first; `store` is where they lie. */
    readonly skipped: readonly {
      readonly name: string;
      readonly store: string;
      readonly code: string;
      readonly message: string;
    }[];
    /** Folders that hold an index that was moved aside at this start, with why. */
    readonly movedAside: readonly {
      readonly path: string;
      readonly code: string;
      readonly message: string;
    }[];
    /** Transactions that only indexes in `quarantine/` know, of any start; `cairn log orphans` prints them. */
    readonly orphans: number;
    readonly replayed: number;
    readonly readyAfterMs: number | null;
  };
  readonly progress: {
    readonly unit: "bytes" | "transactions" | "documents";
    readonly done: number;
    readonly total: number;
    readonly etaMs: number | null;
  } | null;
  /** Nothing has moved since `since`, though something is left to do; docs/operations.md says what each `waitingFor` means. */
  readonly stalled: {
    readonly phase: Phase;
    readonly txId: TxId;
    readonly since: string;
    readonly forMs: number;
    readonly waitingFor: "log" | "messages" | "store" | "files";
    /** A sentence. */
    readonly message: string;
  } | null;
  readonly checkpoints: {
    readonly last: {
      readonly name: string;
      readonly txId: TxId;
      readonly takenAt: string;
      readonly bytes: number;
      /** By the store's clock, as far as it is known; so is that of `lastVerified`. */
      readonly ageMs: number;
    } | null;
    /** The newest one that this node saved itself since it was started, and when, by its own clock. */
    readonly lastSaved: {
      readonly name: string;
      readonly txId: TxId;
      readonly bytes: number;
      readonly at: string;
      readonly durationMs: number;
    } | null;
    /** The newest verification of the log's checkpoints, by any node; `durationMs` is null where it was another one. */
    readonly lastVerified:
      | (VerifiedSummary & { readonly ageMs: number; readonly durationMs: number | null })
      | null;
    /** How the last verification that this node made itself since it was started ended; `name` is null where it failed: `message` says which. */
    readonly lastDrill: {
      readonly at: string;
      readonly durationMs: number;
      readonly outcome: "verified" | "failed";
      readonly name: string | null;
      readonly code: string | null;
      readonly message: string | null;
      readonly hint: string | null;
    } | null;
    readonly nextCheckAt: string | null;
    readonly running: { readonly startedAt: string; readonly step: string; readonly bytes: number } | null;
    /** What somebody should look at though checkpoints go on, each kind once. */
    readonly warnings: readonly {
      readonly at: string;
      readonly about: string;
      readonly message: string;
      readonly hint: string;
    }[];
    readonly lastFailure: { readonly at: string; readonly code: string; readonly message: string } | null;
    /** What the store has found out about itself; null before that, and for stores that have nothing to find out. */
    readonly store: ({ readonly location: string } & StoreFindings) | null;
  };
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
}

/** What became of a checkpoint asked for. */
export type CheckpointResult =
  | { readonly checkpoint: CheckpointSummary }
  | { readonly skipped: "unchanged" | "recent" }
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
  /** Answers once the log has the transaction. TX_INVALID, TX_TOO_LARGE, CONFLICT (same id, another body), NOT_READY, LOG_UNREACHABLE, LOG_FULL. */
  submit(transaction: Transaction): Promise<{ readonly txId: TxId }>;
  /** Waits until this node has indexed `txId`. TX_TIMEOUT after `timeoutMs` (default 30,000). */
  await(txId: TxId, options?: { readonly timeoutMs?: number }): Promise<TxOutcome>;
  /** What became of an indexed transaction; undefined when there was none of that id or it is not indexed yet. */
  outcome(txId: TxId): Promise<TxOutcome | undefined>;
  /** Undefined where there is none. With `asOf`: WATCH_COMPACTED where a history policy has removed the answer. */
  get(
    key: DocumentKey,
    options?: ReadOptions & { readonly asOf?: AsOf },
  ): Promise<StoredDocument | undefined>;
  /** In key order. TX_INVALID for a cursor of another list. */
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
  digest(): Promise<{ readonly txId: TxId; readonly digest: string }>;
  /** Newest first. NOT_FOUND when no checkpointer is configured. */
  checkpoints(): Promise<readonly CheckpointSummary[]>;
  /** Saves a checkpoint now. `begun` resolves once the round has begun (CHECKPOINT_RUNNING while one runs), `done` when it ended. */
  checkpoint(): { readonly begun: Promise<void>; readonly done: Promise<CheckpointResult> };
  /** Reads a checkpoint of the store back (the log's newest when left out) and marks it. CHECKPOINT_*, INDEX_*, NOT_FOUND without a checkpointer. */
  verifyCheckpoint(name?: string): Promise<VerifiedSummary>;
  /** Stops in order: HTTP, checkpointer, indexer, index, log. Twice is fine. */
  close(): Promise<void>;
}
