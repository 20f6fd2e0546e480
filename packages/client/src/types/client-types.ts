import type { DocumentKey, EventRecord, Json, Position, Revision, TxId } from "./transaction.ts";

export interface ClientOptions {
  /** Addresses of nodes that have the same log, such as `http://10.0.0.7:3000`. The first one that responds is used until it fails. */
  readonly urls: string | readonly string[];
  readonly token?: string;
  /** How long a request is retried, with pauses. Defaults to 30,000 ms. If it is 0, each node is tried once. */
  readonly retryForMs?: number;
  /** The time that a node may take for a response, in addition to any requested waiting time. Defaults to 10,000 ms. */
  readonly attemptMs?: number;
  /** Whether reads wait until the node has indexed all that this client wrote or saw before. Defaults to true. */
  readonly readYourWrites?: boolean;
  readonly fetch?: typeof globalThis.fetch;
}

export interface CallOptions {
  /** A signal that aborts the call, which rejects with the signal's reason. A write that was sent may still have taken effect. */
  readonly signal?: AbortSignal;
}

export interface WaitOptions extends CallOptions {
  /** How long the node waits (30,000 ms by default). `TX_TIMEOUT` is thrown for a transaction not indexed by then. */
  readonly timeoutMs?: number;
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

export interface ClientDocument<T = Json> {
  readonly namespace: string;
  readonly name: string;
  readonly revision: Revision;
  readonly document: T;
}

/** One version of a document. A deletion has no document. */
export interface ClientVersion<T = Json> {
  readonly revision: Revision;
  readonly txTime: string;
  readonly deleted: boolean;
  readonly document?: T;
}

export interface ClientListQuery extends ClientReadOptions {
  readonly namespace?: string;
  readonly prefix?: string;
  readonly asOf?: PointInTime;
  /** Conditions on indexed fields, such as `state:running` or `age>=18`, all of which must hold. */
  readonly where?: string | readonly string[];
  /** The indexed field by whose values the list is ordered; `-` before it reverses the order. */
  readonly order?: string;
  /** The number of documents per page, from 1 to 1,000. Defaults to 100. */
  readonly pageSize?: number;
}

/** A page as of `txId`. A watch from `position` continues it without a gap. `next` is undefined on the last page. */
export interface ClientPage<T = Json> {
  readonly txId: TxId;
  readonly position: Position;
  readonly documents: readonly ClientDocument<T>[];
  readonly next: string | undefined;
}

/** After `timeoutMs`, the error's details name the transaction if it was stored; otherwise, the outcome is unknown. */
export interface WriteOptions extends WaitOptions {
  /** The revision at which the document must be, or null if it must not exist. Otherwise, `CONFLICT` is thrown. */
  readonly ifRevision?: Revision | null;
  /** The idempotency id. Defaults to a random one. */
  readonly id?: string;
}

/** The transaction that wrote a document. Its `txId` is the document's new revision. */
export interface Written {
  readonly txId: TxId;
  readonly txTime: string;
}

/** The changes to watch, and the position at which to begin. */
export interface ClientWatchQuery extends CallOptions {
  readonly bucket?: string;
  readonly namespace?: string;
  /** The position at which the watch begins; `"0"` is the beginning of the log. Defaults to the current one. */
  readonly from?: Position;
  /** Called between transactions with the position, after `txId`, up to which nothing was missed. */
  readonly onPosition?: (position: Position, txId: TxId) => void;
  /** Called with the reason each time a node is abandoned, before the next one is tried. */
  readonly onReconnect?: (error: Error) => void;
}

/** A transaction's change to one key. Only a put contains the document. */
export interface ClientChange<T = Json> extends DocumentKey {
  readonly op: "put" | "delete" | "evict";
  readonly revision: Revision;
  readonly document?: T;
}

/** A transaction with all its changes to watched keys. A watch from `position` continues after it. */
export interface ClientTransaction<T = Json> {
  readonly txId: TxId;
  readonly txTime: string;
  readonly position: Position;
  readonly changes: readonly ClientChange<T>[];
}

export interface ClientEvent extends EventRecord {
  readonly id?: string;
  readonly time: string;
}
