/** What one client did and was answered. Times are of this machine's clock, which the log's server shares. */
export type Observation = WriteObservation | ReadObservation;

/** A transaction that was sent. Each of its documents, and its id where it has one, is sent by nobody else. */
export interface WriteObservation {
  readonly kind: "write";
  readonly client: number;
  /** The idempotency id. */
  readonly id?: string;
  /** What identifies it in the log where it has no id: one of its documents. */
  readonly value: string;
  readonly answer: WriteAnswer;
}

/** `unsent`: nobody has it. `unknown`: it may or may not be stored. `stored`: it is, under this id. `conflict`: it changed nothing. */
export type WriteAnswer =
  | { readonly kind: "unsent" | "unknown" | "conflict" }
  | { readonly kind: "stored"; readonly txId: number }
  | { readonly kind: "outcome"; readonly txId: number; readonly committed: boolean };

/** A read that was answered. What it shows is the state after some transaction from `least` on that was stored before `receivedAt`. */
export interface ReadObservation {
  readonly kind: "read";
  readonly client: number;
  readonly node: number;
  readonly least: number;
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
    /** Of `txId` exactly; `where` is the value of the indexed field `state`. */
    | {
        readonly of: "list";
        readonly txId: number;
        readonly where?: string;
        readonly documents: readonly string[];
      };
}

/** A version of a key; a deletion has no document. */
export interface FoundVersion {
  readonly revision: number;
  readonly json: string | undefined;
}

/** The one bucket that clients use. */
export const BUCKET = "things";

/** The indexed field. */
export const FIELD = "state";

/** A listed document as one text. */
export function listedText(key: string, { revision, json }: FoundVersion): string {
  return `${key} ${revision} ${json ?? ""}`;
}
