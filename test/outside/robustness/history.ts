/** A history in the judge's format: what clients sent and received, and the part of the log that concerns it. */
export interface History {
  readonly history: number;
  /** The last transaction of the log as it was read. */
  readonly lastTxId: number;
  readonly messages: readonly LoggedMessage[];
  /** In the order in which they began. */
  readonly operations: readonly Operation[];
  readonly watches: readonly Watch[];
}

/** A part of a transaction. A match expects a revision, or that there is no document (null). */
export type Step =
  | { readonly op: "match"; readonly key: string; readonly revision: number | null }
  | { readonly op: "put"; readonly key: string; readonly value: string }
  | { readonly op: "delete"; readonly key: string };

/** A message of the log that writes in the history's bucket. */
export interface LoggedMessage {
  readonly txId: number;
  /** The idempotency id; empty if it has none. */
  readonly id: string;
  readonly steps: readonly Step[];
}

/** A document. Every write has a different value. */
export interface FoundDocument {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

interface Timed {
  /** No two operations of a client overlap. */
  readonly client: number;
  /** In nanoseconds, like `return`. No two times are equal. */
  readonly call: number;
  readonly return: number;
}

/** A write, and its outcome as the client knows it. */
export interface WriteOperation extends Timed {
  readonly kind: "write";
  readonly steps: readonly Step[];
  readonly answer: WriteAnswer;
}

/**
 * What the client knows about a write. `unknown`: it may be stored. `stored`: it is stored as `txId`. `conflict`: its
 * precondition did not hold. `existed` is the response to a deletion; null if the response does not tell.
 */
export type WriteAnswer =
  | { readonly kind: "unknown" | "conflict" }
  | { readonly kind: "stored"; readonly txId: number }
  | {
      readonly kind: "outcome";
      readonly txId: number;
      readonly committed: boolean;
      readonly existed: boolean | null;
    };

/** The state that a client reads: everything acknowledged before, what the node has indexed, or an earlier transaction. */
export type ReadKind = "linearizable" | "current" | "past";

/** A successful read of a key or, if `key` is empty, of all keys of a namespace or, if that is empty, of the bucket. */
export interface ReadOperation extends Timed {
  readonly kind: "read";
  readonly of: ReadKind;
  readonly key: string;
  readonly namespace: string;
  /**
   * The transaction as of which it is valid. A current read of a key may be of a later state, and a response to a
   * linearizable one names no transaction (0).
   */
  readonly txId: number;
  readonly documents: readonly FoundDocument[];
}

export type Operation = WriteOperation | ReadOperation;

/** What a watcher received, which keeps a copy of the documents that begins with `base`. */
export interface Watch {
  /** Empty if the whole bucket is watched. */
  readonly namespace: string;
  readonly base: readonly FoundDocument[];
  readonly connections: readonly WatchConnection[];
}

/** The events of one connection, from after the transaction `fromTxId` on. */
export interface WatchConnection {
  readonly fromTxId: number;
  readonly events: readonly WatchedEvent[];
}

/** A transaction or, with `isProgress`, the statement that everything up to it was sent. */
export interface WatchedEvent {
  readonly txId: number;
  readonly isProgress: boolean;
  readonly changes: readonly WatchedChange[];
}

export interface WatchedChange {
  readonly op: string;
  readonly key: string;
  /** Empty for a deletion. */
  readonly value: string;
  readonly revision: number;
}

/** The namespaces of a history's bucket. */
export const NAMESPACES = ["a", "b"] as const;

/** Returns the bucket of a history. */
export function bucketOf(history: number): string {
  return `h${history}`;
}

let lastTime = 0;

/** Returns the time since this process began. Each call returns a later one. */
export function now(): number {
  lastTime = Math.max(lastTime + 1, Math.round(performance.now() * 1_000_000));
  return lastTime;
}

/** Returns a document as text. Clients write only strings. */
export function valueOf(document: unknown): string {
  return typeof document === "string" ? document : JSON.stringify(document);
}
