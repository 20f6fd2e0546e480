/** One read of a node, as data: each subject asks it in its own way, and the oracle answers it from the acknowledged transactions. */
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

/** What a subject answers to {@link Question}s, by kind. Equal answers are equal as JSON. */
export interface Answers {
  /** Null where there is none. */
  readonly get: { readonly revision: number; readonly document: unknown } | null;
  readonly list: readonly (readonly [key: string, revision: number, document: unknown])[];
  /** Newest first; a deletion has no document. */
  readonly history: readonly (readonly [revision: number, document?: unknown])[];
  /** Null where there is none. */
  readonly outcome: { readonly committed: boolean; readonly time: number } | null;
  /** Newest first. */
  readonly events: readonly (readonly [txId: number, time: string, object: string, reason: string])[];
  /** In the order of their texts: within a transaction they have no other. */
  readonly evictions: readonly string[];
  /** A text for each change, in the order of the log, and within a transaction in the order of the texts. */
  readonly changes: readonly string[];
  readonly buckets: readonly {
    readonly name: string;
    readonly documents: number;
    readonly fields: Readonly<Record<string, unknown>>;
  }[];
  readonly digest: string;
}

export type Answer = Answers[keyof Answers];

/** Pages are small, so that a list needs several. */
export const PAGE = 7;

/** A change of a transaction as one text. */
export function changeText(txId: number, op: string, bucket: string, key: string, document: unknown): string {
  return [String(txId).padStart(6, "0"), op, bucket, key, op === "put" ? JSON.stringify(document) : ""].join(
    " ",
  );
}

/** What was evicted, as one text. */
export function evictionText(txId: number, bucket: string, key: string): string {
  return [String(txId).padStart(6, "0"), bucket, key].join(" ");
}
