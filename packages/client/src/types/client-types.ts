import type { BucketSummary } from "./policies.ts";
import type { Faithful } from "./faithful.ts";
import type { DocumentKey, EventRecord, Json, Position, Revision, TxId } from "./transaction.ts";

export interface HttpClientOptions {
  /** Addresses of nodes that have the same log, such as `http://10.0.0.7:3000`. The first one that responds is used until it fails. */
  readonly urls: string | readonly string[];
  readonly token?: string | undefined;
  /** How long a request is retried, with pauses. Defaults to 30,000 ms. If it is 0, each node is tried once. */
  readonly retryForMs?: number;
  /** The time that a node may take for a response, in addition to any requested waiting time. Defaults to 10,000 ms. */
  readonly attemptMs?: number;
  readonly fetch?: typeof globalThis.fetch;
}

export interface CallOptions {
  /** A signal that aborts the call, which rejects with the signal's reason. A write that was sent may still have taken effect. */
  readonly signal?: AbortSignal | undefined;
}

export interface PageOptions {
  /** The maximum number of items in a page: 1 to 1,000. Defaults to 100. */
  readonly limit?: number | undefined;
  /** The cursor of the previous page. */
  readonly cursor?: string | undefined;
}

export interface WaitOptions extends CallOptions {
  /**
   * How long the node waits (30,000 ms by default). `TX_TIMEOUT` is thrown for a transaction not indexed by then. If it
   * is given, the call is not repeated after it either. Only `signal` ends an attempt that a node does not answer.
   */
  readonly timeoutMs?: number | undefined;
}

export interface ClientReadOptions extends WaitOptions {
  /** The transaction that the node must have indexed before it reads. It is awaited for `timeoutMs`. */
  readonly minTx?: TxId;
  /** Whether to read from the index even if the node is not ready. */
  readonly stale?: boolean;
  /** Whether to include every write that any node acknowledged before the call. Cannot be combined with `stale`. */
  readonly linearizable?: boolean;
}

/** A transaction's id, or an instant (an ISO 8601 string or a Date). */
export type PointInTime = TxId | string | Date;

export type ClientGetOptions = ClientReadOptions & { readonly asOf?: PointInTime | undefined };
export type ClientHistoryOptions = ClientReadOptions & { readonly pageSize?: number | undefined };
export type ClientEntriesOptions = ClientReadOptions & PageOptions;

export interface ClientDocument<T = Json> {
  readonly namespace: string;
  readonly name: string;
  readonly revision: Revision;
  readonly document: T;
}

/** One version of a document, or its deletion. */
export type ClientVersion<T = Json> = { readonly revision: Revision; readonly txTime: string } & (
  | { readonly deleted: false; readonly document: T }
  | { readonly deleted: true; readonly document?: undefined }
);

/** The documents of a bucket for which everything holds that is given. Keys are ordered by namespace, then by name. */
export interface DocumentSelection {
  readonly namespace?: string;
  /** Selects only names with this prefix, in `namespace` or in all namespaces. */
  readonly prefix?: string;
  /** Selects only this key and those after it: a name in `namespace`; without one, `namespace/name`. */
  readonly from?: string;
  /** Selects only keys before this one. If it is not after `from`, nothing is selected. */
  readonly to?: string;
}

export interface ClientListQuery extends ClientReadOptions, DocumentSelection {
  readonly asOf?: PointInTime;
  /** Conditions on indexed fields, such as `state:running` or `age>=18`, all of which must hold. */
  readonly where?: string | readonly string[];
  /** The indexed field by whose values the list is ordered; `-` before it reverses the order. */
  readonly order?: string;
  /** The number of documents per page, from 1 to 1,000. Defaults to 100. */
  readonly pageSize?: number;
}

/** All buckets, as of `txId`. */
export interface ClientBuckets {
  readonly txId: TxId;
  readonly buckets: readonly BucketSummary[];
}

/** A page as of `txId`. A watch from `position` continues it without a gap. `next` is undefined on the last page. */
export interface ClientPage<T = Json> {
  readonly txId: TxId;
  readonly position: Position;
  readonly documents: readonly ClientDocument<T>[];
  readonly next: string | undefined;
}

/** After `timeoutMs`, the error's details name the transaction if it was stored; otherwise, the outcome is unknown. */
export interface SubmitOptions extends WaitOptions {
  /** The idempotency id. Defaults to a random one. */
  readonly id?: string;
}

export interface WriteOptions extends SubmitOptions {
  /** The revision at which the document must be, or null if it must not exist. Otherwise, `CONFLICT` is thrown. */
  readonly ifRevision?: Revision | null;
}

/** The transaction that wrote a document. Its `txId` is the document's new revision. */
export interface Written {
  readonly txId: TxId;
  readonly txTime: string;
  readonly position: Position;
}

export interface LoadedDocument<T> {
  /** `namespace/name`, or a name in the namespace `default`. */
  readonly key: string;
  readonly document: T & Faithful<T>;
}

export type LoadedDocuments<T> = Iterable<LoadedDocument<T>> | AsyncIterable<LoadedDocument<T>>;

export interface LoadOptions extends WaitOptions {
  /** Called with the number of documents that were written, or deleted, so far. */
  readonly onProgress?: (documents: number) => void;
}

/** The documents to delete. Defaults to the whole bucket. */
export type RemoveQuery = LoadOptions & DocumentSelection;

export interface Removed {
  readonly documents: number;
}

/** The changes to watch, and the position at which to begin. */
export interface ClientWatchQuery extends ClientFollowQuery {
  /** The position at which the watch begins; `"0"` is the beginning of the log. Defaults to the current one. */
  readonly from?: Position | undefined;
  /** Called between transactions with the position, after `txId`, up to which nothing was missed. */
  readonly onPosition?: (position: Position, txId: TxId) => void;
}

/** A transaction's change to one key. */
export type ClientChange<T = Json> = DocumentKey & { readonly revision: Revision } & (
    | { readonly op: "put"; readonly document: T }
    | { readonly op: "delete" | "evict"; readonly document?: undefined }
  );

/** A transaction with all its changes to watched keys. A watch from `position` continues after it. */
export interface ClientTransaction<T = Json> {
  readonly txId: TxId;
  readonly txTime: string;
  readonly position: Position;
  readonly changes: readonly ClientChange<T>[];
}

/** The documents to follow, and the position from which to continue. */
export interface ClientFollowQuery extends CallOptions {
  readonly bucket?: string | undefined;
  readonly namespace?: string | undefined;
  /** The position that was stored with what was followed before. By default, everything is sent first. */
  readonly from?: Position | undefined;
  /** Called with the reason each time a node is abandoned, before the next one is tried. */
  readonly onReconnect?: ((error: Error) => void) | undefined;
}

/**
 * The new state of a key or, for `clear`, of all keys of a namespace or, without one, of everything that is followed.
 */
export type ClientStateChange<T = Json> =
  | (DocumentKey & {
      readonly op: "put";
      readonly revision: Revision;
      /** The time of the transaction that wrote the document. */
      readonly txTime: string;
      readonly document: T;
    })
  | (DocumentKey & { readonly op: "delete"; readonly document?: undefined })
  | {
      readonly op: "clear";
      readonly bucket?: string;
      readonly namespace?: string;
      readonly document?: undefined;
    };

/**
 * New states of followed documents, each key at most once. `position` is what to store with the content, to continue
 * from it later; undefined until everything was sent. If `complete` is true, the content is now exactly that of the
 * position; otherwise, it may already contain later changes, which are sent again.
 */
export interface ClientStates<T = Json> {
  readonly position: Position | undefined;
  readonly txId: TxId;
  readonly txTime: string | null;
  readonly complete: boolean;
  readonly changes: readonly ClientStateChange<T>[];
}

/** The values of a query's parameters, in their order or by their names. */
export type QueryArguments = readonly Json[] | Readonly<Record<string, Json>>;

export interface ClientQueryOptions extends WaitOptions {
  /** The transaction that the index must contain. It is awaited for `timeoutMs`. */
  readonly minTx?: TxId;
  /** The maximum number of rows: 1 to 10,000, which is the default. */
  readonly limit?: number | undefined;
}

/** The rows of a query, as of `txId`. `more` is true if there are more than the limit. */
export interface ClientRows {
  readonly txId: TxId;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Json[])[];
  readonly more: boolean;
}

export interface ClientEventQuery extends ClientReadOptions {
  /** The maximum number of events: 1 to 1,000. Defaults to 100. */
  readonly limit?: number;
  /** Selects only events of objects in this bucket. */
  readonly bucket?: string;
  readonly object?: string;
  /** Selects only events older than the event with this id, or than this time in nanoseconds since 1970. */
  readonly before?: string;
}

export interface ClientEvent extends EventRecord {
  readonly id?: string;
  readonly time: string;
}
