/**
 * A read of a node, as data. Each subject sends it in its own way, and the oracle derives the response from the
 * acknowledged transactions.
 */
export type Question =
  | { readonly ask: "get"; readonly bucket: string; readonly key: string; readonly asOf?: number }
  | {
      readonly ask: "list";
      readonly bucket: string;
      readonly asOf?: number;
      readonly where?: { readonly field: string; readonly value: string };
    }
  | { readonly ask: "history"; readonly bucket: string; readonly key: string }
  | { readonly ask: "outcome"; readonly txId: number }
  | { readonly ask: "events" }
  | { readonly ask: "evictions" }
  | { readonly ask: "changes"; readonly upTo: number }
  | { readonly ask: "buckets" }
  | { readonly ask: "digest" };

/** The responses of a subject to each kind of {@link Question}. Equal responses are equal as JSON. */
export interface Answers {
  /** Null if there is no document. */
  readonly get: { readonly revision: number; readonly document: unknown } | null;
  readonly list: readonly (readonly [key: string, revision: number, document: unknown])[];
  /** The versions, newest first. A deletion has no document. */
  readonly history: readonly (readonly [revision: number, document?: unknown])[];
  /** Null if there is no such transaction. */
  readonly outcome: { readonly committed: boolean; readonly time: number } | null;
  /** Newest first. */
  readonly events: readonly (readonly [txId: number, time: string, object: string, reason: string])[];
  /** The evictions, sorted as strings, because they have no other order within a transaction. */
  readonly evictions: readonly string[];
  /** A string for each change, in the order of the log, and sorted within a transaction. */
  readonly changes: readonly string[];
  readonly buckets: readonly {
    readonly name: string;
    readonly documents: number;
    readonly fields: Readonly<Record<string, unknown>>;
  }[];
  readonly digest: string;
}

export type Answer = Answers[keyof Answers];

/** The page size, so small that a list needs several pages. */
export const PAGE = 7;

/** Returns a change of a transaction as one string. */
export function changeText(txId: number, op: string, bucket: string, key: string, document: unknown): string {
  return [String(txId).padStart(6, "0"), op, bucket, key, op === "put" ? JSON.stringify(document) : ""].join(
    " ",
  );
}

/** Returns an eviction as one string. */
export function evictionText(txId: number, bucket: string, key: string): string {
  return [String(txId).padStart(6, "0"), bucket, key].join(" ");
}
