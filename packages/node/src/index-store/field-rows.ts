import type { KvOperation, KvReader } from "@cairn/kv";
import type { ActivePolicies, FieldIndex } from "../policies/active-policies.ts";
import type { LoggedOperation } from "../tx-log/transaction-codec.ts";
import type { FieldChanges, FieldRow } from "./field-changes.ts";
import type { FieldCounts } from "./field-counts.ts";
import { documentTexts, fieldTexts } from "./field-texts.ts";
import type { KeyState } from "./key-states.ts";

/**
 * Indexed fields whose rows are being built, with the document row up to which they are (empty: none yet). Those that are not here
 * are whole. What is behind that row is left to the building.
 */
export type FieldBuilds = ReadonlyMap<number, Uint8Array>;

/** Indexed fields by bucket, without the buckets where nobody has begun to build any: what is written there is left to the building. */
export function begunFields(
  indexed: ActivePolicies["indexed"],
  builds: FieldBuilds,
): ActivePolicies["indexed"] {
  if (builds.size === 0) return indexed;
  const isBegun = ({ id }: FieldIndex): boolean => builds.get(id)?.length !== 0;
  return new Map([...indexed].filter(([, indexes]) => indexes.some(isBegun)));
}

/** What is known of a store's indexed fields by whoever writes to it. */
export interface FieldKnowledge {
  readonly builds: FieldBuilds;
  readonly counts: FieldCounts;
}

/** The rows of a document that a message writes, made before it is known whether it commits. */
export interface RowsAhead {
  /** The document's JSON as it lies in its message. */
  readonly written: Uint8Array;
  /** One for each indexed field that it has. */
  readonly rows: readonly (FieldRow | undefined)[];
}

/** Makes the rows of documents that are about to be written: that needs nothing from the store, which reads meanwhile. */
export function makeRowsAhead(
  changes: FieldChanges,
  ops: readonly LoggedOperation[],
  touched: readonly (KeyState | undefined)[],
  indexed: ActivePolicies["indexed"],
): void {
  for (const [at, { op, document }] of ops.entries()) {
    const key = touched[at];
    const indexes = op === "put" && key !== undefined ? indexed.get(key.bucket.name) : undefined;
    if (key === undefined || document === undefined || indexes === undefined) continue;
    const texts = documentTexts(document, indexes);
    const rows = indexes.map((index, place) => {
      const text = texts[place];
      return text === undefined ? undefined : changes.make(index, text, key.rowKey);
    });
    key.ahead = { written: document, rows };
  }
}

/** Adds the rows of indexed fields that change with a batch: nothing but the difference between the documents before and after it. */
export async function addFieldRows(
  rows: KvOperation[],
  changes: FieldChanges,
  keys: readonly KeyState[],
  indexed: ActivePolicies["indexed"],
  { builds, counts }: FieldKnowledge,
  reader: KvReader,
): Promise<void> {
  for (const key of keys) {
    const { bucket, rowKey, before, document, written, ahead } = key;
    const indexes = before === document ? undefined : indexed.get(bucket.name);
    if (indexes === undefined) continue;
    const old = fieldTexts(before, indexes);
    // Of several documents that a batch has for one key, the last may not have committed.
    const made = document !== undefined && ahead?.written === written ? ahead?.rows : undefined;
    const now = made === undefined ? fieldTexts(document, indexes) : undefined;
    for (const [at, index] of indexes.entries()) {
      const built = builds.size === 0 ? undefined : builds.get(index.id);
      if (built !== undefined && Buffer.compare(rowKey, built) > 0) continue;
      const from = old[at];
      const row = made?.[at];
      const to = now === undefined ? row?.value.text : now[at];
      if (from === to) continue;
      if (from !== undefined) changes.remove(index, from, rowKey);
      if (to !== undefined) changes.add(row ?? changes.make(index, to, rowKey));
    }
  }
  await changes.addTo(rows, reader, counts);
}
