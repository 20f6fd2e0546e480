import type { DocumentKey, Json, Revision, TxId } from "./transaction.ts";

/** How a client speaks to nodes. */
export interface ClientOptions {
  /** Addresses of nodes that have the same log, such as `http://10.0.0.7:3000`. The first that answers is used until it does not. */
  readonly urls: string | readonly string[];
  /** The nodes' auth-token. */
  readonly token?: string;
  /** How long a request is tried again, with pauses, before its last error is thrown; 30,000 ms when left out, 0: every node once. */
  readonly retryForMs?: number;
  /** How long one node may take for one answer, beyond what it was asked to wait; 10,000 ms when left out. */
  readonly attemptMs?: number;
  /** Whether reads wait until the node has what this client wrote or saw before, from whichever node; true when left out. */
  readonly readYourWrites?: boolean;
  /** In place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call with the signal's reason. What was sent may have taken effect all the same. */
  readonly signal?: AbortSignal;
}

/** What every read takes. */
export interface ClientReadOptions extends CallOptions {
  /** Wait until the node has indexed this transaction. */
  readonly minTx?: TxId;
  /** How long; 30,000 ms when left out, then `TX_TIMEOUT`. */
  readonly timeoutMs?: number;
  /** Answer from what is there though the node is not ready. */
  readonly stale?: boolean;
  /** Include everything that any node acknowledged to anybody before the call. Not together with `stale`. */
  readonly linearizable?: boolean;
}

/** A transaction's id, or an instant (ISO-8601, or a Date). */
export type PointInTime = TxId | string | Date;

/** A document as it is answered. */
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

/** Which documents, in key order. */
export interface ClientListQuery extends ClientReadOptions {
  readonly namespace?: string;
  readonly prefix?: string;
  readonly asOf?: PointInTime;
  /** `field:value` of an indexed field; of several fields, all have to hold. */
  readonly where?: string | readonly string[];
  /** Documents a page: 1 to 1,000, 100 when left out. */
  readonly pageSize?: number;
}

/** A page of a list: as of `txId`, from which a watch can follow without a gap. `next` is undefined on the last page. */
export interface ClientPage<T = Json> {
  readonly txId: TxId;
  readonly documents: readonly ClientDocument<T>[];
  readonly next: string | undefined;
}

/** How a document is written. */
export interface WriteOptions extends CallOptions {
  /** Only if it is at this revision (null: absent), else `CONFLICT`. */
  readonly ifRevision?: Revision | null;
  /** An idempotency id of one's own; a random one when left out. */
  readonly id?: string;
  /** How long to wait until it is stored and indexed; 30,000 ms when left out, then `TX_TIMEOUT`, whose details name the transaction if it is stored; if they do not, nobody knows. */
  readonly timeoutMs?: number;
}

/** What was written: `txId` is the document's revision now. */
export interface Written {
  readonly txId: TxId;
  readonly txTime: string;
}

/** Which changes, and from where on. */
export interface ClientWatchQuery extends CallOptions {
  readonly bucket?: string;
  readonly namespace?: string;
  /** The transaction after which to begin; from now on when left out. */
  readonly from?: TxId;
  /** Told, between transactions, up to where nothing was missed: where a later watch can begin. */
  readonly onPosition?: (txId: TxId) => void;
  /** Told each time that a node was left, with why, before the next one is asked. */
  readonly onReconnect?: (error: Error) => void;
}

/** What a transaction did to one key; only a put has the document. */
export interface ClientChange<T = Json> extends DocumentKey {
  readonly op: "put" | "delete" | "evict";
  readonly revision: Revision;
  readonly document?: T;
}

/** A transaction that changed something that is watched, whole. */
export interface ClientTransaction<T = Json> {
  readonly txId: TxId;
  readonly txTime: string;
  readonly changes: readonly ClientChange<T>[];
}

/** An event that an application recorded, newest first in lists. */
export interface ClientEvent {
  readonly id?: string;
  readonly object: string;
  readonly reason: string;
  readonly message?: string;
  readonly bucket?: string;
  /** Nanoseconds since 1970 in digits. */
  readonly time: string;
  readonly type?: string;
  readonly source?: string;
}
