import type { DocumentKey, Json, Revision, TxId } from "./transaction.ts";

/** Options for a client. */
export interface ClientOptions {
  /** Addresses of nodes that have the same log, such as `http://10.0.0.7:3000`. The first one that responds is used until it fails. */
  readonly urls: string | readonly string[];
  /** The nodes' auth-token. */
  readonly token?: string;
  /**
   * How long a request is retried, with pauses, before its last error is thrown; defaults to 30,000 ms. With 0, each
   * node is tried once.
   */
  readonly retryForMs?: number;
  /** The time that a node may take for a response, in addition to any requested waiting time; defaults to 10,000 ms. */
  readonly attemptMs?: number;
  /** Whether reads wait until the node has indexed everything that this client wrote or saw before; defaults to true. */
  readonly readYourWrites?: boolean;
  /** A replacement for the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
}

/** Options for every call. */
export interface CallOptions {
  /** A signal that aborts the call, which rejects with the signal's reason. A write that was sent may still have taken effect. */
  readonly signal?: AbortSignal;
}

/** Options for every read. */
export interface ClientReadOptions extends CallOptions {
  /** The transaction that the node must have indexed before it reads. */
  readonly minTx?: TxId;
  /** The time to wait for that transaction before `TX_TIMEOUT`; defaults to 30,000 ms. */
  readonly timeoutMs?: number;
  /** Whether to read from the index even if the node is not ready. */
  readonly stale?: boolean;
  /** Whether to include every write that any node acknowledged before the call. Cannot be combined with `stale`. */
  readonly linearizable?: boolean;
}

/** A transaction's id, or an instant (ISO-8601, or a Date). */
export type PointInTime = TxId | string | Date;

/** A document with its key and revision. */
export interface ClientDocument<T = Json> {
  readonly namespace: string;
  readonly name: string;
  readonly revision: Revision;
  readonly document: T;
}

/** One version of a document; a deletion has none. */
export interface ClientVersion<T = Json> {
  readonly revision: Revision;
  readonly txTime: string;
  readonly deleted: boolean;
  readonly document?: T;
}

/** The documents to list. */
export interface ClientListQuery extends ClientReadOptions {
  readonly namespace?: string;
  readonly prefix?: string;
  readonly asOf?: PointInTime;
  /** A filter `field:value` on an indexed field; if there are several, all must match. */
  readonly where?: string | readonly string[];
  /** The number of documents per page: 1 to 1,000; defaults to 100. */
  readonly pageSize?: number;
}

/** A page of a list as of `txId`, from which a watch can follow without a gap. `next` is undefined on the last page. */
export interface ClientPage<T = Json> {
  readonly txId: TxId;
  readonly documents: readonly ClientDocument<T>[];
  readonly next: string | undefined;
}

/** Options for a write. */
export interface WriteOptions extends CallOptions {
  /** The revision that the document must be at (null: absent), otherwise `CONFLICT`. */
  readonly ifRevision?: Revision | null;
  /** The idempotency id; defaults to a random one. */
  readonly id?: string;
  /**
   * The time to wait until the write is stored and indexed; defaults to 30,000 ms. After that, `TX_TIMEOUT` is thrown.
   * Its details name the transaction if it is known to be stored; otherwise the outcome is unknown.
   */
  readonly timeoutMs?: number;
}

/** The transaction that wrote a document; `txId` is its new revision. */
export interface Written {
  readonly txId: TxId;
  readonly txTime: string;
}

/** The changes to watch, and the transaction to begin after. */
export interface ClientWatchQuery extends CallOptions {
  readonly bucket?: string;
  readonly namespace?: string;
  /** The transaction after which to begin; defaults to now. */
  readonly from?: TxId;
  /** Called between transactions with the position up to which nothing was missed, after which a later watch can begin. */
  readonly onPosition?: (txId: TxId) => void;
  /** Called with the reason each time a node is abandoned, before the next one is tried. */
  readonly onReconnect?: (error: Error) => void;
}

/** A transaction's change to one key; only a put contains the document. */
export interface ClientChange<T = Json> extends DocumentKey {
  readonly op: "put" | "delete" | "evict";
  readonly revision: Revision;
  readonly document?: T;
}

/** A transaction with all its changes to watched keys. */
export interface ClientTransaction<T = Json> {
  readonly txId: TxId;
  readonly txTime: string;
  readonly changes: readonly ClientChange<T>[];
}

/** A recorded event of an application. */
export interface ClientEvent {
  readonly id?: string;
  readonly object: string;
  readonly reason: string;
  readonly message?: string;
  readonly bucket?: string;
  /** Nanoseconds since 1970 in decimal digits. */
  readonly time: string;
  readonly type?: string;
  readonly source?: string;
}
