import type { KvOperation, KvReader } from "@cairn/kv";
import type { FieldKnowledge } from "../fields/field-builds.ts";
import type { ActivePolicies } from "../policies/active-policies.ts";
import type { LoggedOperation } from "../../transactions/transaction-codec.ts";
import type { FieldChanges } from "../fields/field-changes.ts";
import { documentTexts, fieldTexts } from "../fields/field-texts.ts";
import type { KeyState } from "./key-states.ts";

/** It does not use the store, so the store can be read concurrently. */
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

/** Adds the rows of indexed fields that change with a batch: the difference between the documents before and after it. */
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
    // If a batch contains several documents for a key, the last one may belong to an aborted transaction.
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
