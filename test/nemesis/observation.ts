/** A client's request and the response to it. Times are from this machine's clock, which the log's server shares. */
export type Observation = WriteObservation | ReadObservation;

/** A transaction that was sent. Its documents, and its id if it has one, are unique among all clients. */
export interface WriteObservation {
  readonly kind: "write";
  readonly client: number;
  /** The idempotency id. */
  readonly id?: string;
  /** One of the documents, which identifies the transaction in the log if it has no id. */
  readonly value: string;
  readonly answer: WriteAnswer;
}

/**
 * The outcome of a write. `unsent`: no process received it. `unknown`: it may be stored. `stored`: it is stored as
 * `txId`. `conflict`: it changed nothing.
 */
export type WriteAnswer =
  | { readonly kind: "unsent" | "unknown" | "conflict" }
  | { readonly kind: "stored"; readonly txId: number }
  | { readonly kind: "outcome"; readonly txId: number; readonly committed: boolean };

/** A successful read. It must show the state after some transaction, starting with `minTxId`, that was stored before `receivedAt`. */
export interface ReadObservation {
  readonly kind: "read";
  readonly client: number;
  readonly node: number;
  readonly minTxId: number;
  readonly receivedAt: number;
  readonly read:
    | { readonly of: "get"; readonly key: string; readonly found: FoundVersion | null }
    | {
        readonly of: "as-of";
        readonly key: string;
        readonly txId: number;
        readonly found: FoundVersion | null;
      }
    | { readonly of: "history"; readonly key: string; readonly versions: readonly FoundVersion[] }
    /** The state after exactly `txId`. `where` is the value of the indexed field. */
    | {
        readonly of: "list";
        readonly txId: number;
        readonly where?: string;
        readonly documents: readonly string[];
      };
}

/** A version of a key. A deletion has no document. */
export interface FoundVersion {
  readonly revision: number;
  readonly json: string | undefined;
}

/** The only bucket that clients use. */
export const BUCKET = "things";

/** The indexed field. */
export const FIELD = "state";

/** Returns a listed document as a string. */
export function listedText(key: string, { revision, json }: FoundVersion): string {
  return `${key} ${revision} ${json ?? ""}`;
}
