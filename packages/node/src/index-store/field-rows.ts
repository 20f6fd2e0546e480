import { CairnError, type KvOperation, type KvReader } from "@cairn/kv";
import type { ActivePolicies, FieldIndex } from "../policies/active-policies.ts";
import { comparableText, fieldValue } from "../policies/policies.ts";
import type { KeyState } from "./key-states.ts";
import { fieldCountKey, fieldRowKey, fieldValuePrefix } from "./field-row-keys.ts";
import { decodeNumber, encodeNumber, versionValueJson } from "./row-values.ts";

/**
 * Indexed fields whose rows are being built, with the document row up to which they are (empty: none yet). Those that are not here
 * are whole. What is behind that row is left to the building.
 */
export type FieldBuilds = ReadonlyMap<number, Uint8Array>;

/** The rows of indexed fields that change with a batch: nothing but the difference between the documents before and after it. */
export async function fieldRows(
  keys: readonly KeyState[],
  indexed: ActivePolicies["indexed"],
  builds: FieldBuilds,
  reader: KvReader,
): Promise<KvOperation[]> {
  const rows: KvOperation[] = [];
  const counts = new FieldCounts();
  for (const { bucket, rowKey, before, document } of keys) {
    const indexes = before === document ? undefined : indexed.get(bucket.name);
    if (indexes === undefined) continue;
    const old = before === undefined ? undefined : versionValueJson(before);
    const now = document === undefined ? undefined : versionValueJson(document);
    for (const index of indexes) {
      const built = builds.get(index.id);
      if (built !== undefined && Buffer.compare(rowKey, built) > 0) continue;
      const from = old === undefined ? undefined : fieldText(index, old);
      const to = now === undefined ? undefined : fieldText(index, now);
      if (from === to) continue;
      if (from !== undefined) {
        rows.push({ type: "del", key: fieldRow(index, from, rowKey) });
        counts.add(index, from, -1);
      }
      if (to !== undefined) {
        rows.push({ type: "put", key: fieldRow(index, to, rowKey), value: EMPTY });
        counts.add(index, to, 1);
      }
    }
  }
  rows.push(...(await counts.rows(reader)));
  return rows;
}

const EMPTY = new Uint8Array(0);

/** The value by which a document is found; undefined where it has none. */
export function fieldText(
  { path }: FieldIndex,
  document: NonNullable<ReturnType<typeof versionValueJson>> | null,
) {
  return comparableText(fieldValue(document, path));
}

/** The row of a document under its value. */
export function fieldRow({ id, bucket }: FieldIndex, text: string, rowKey: Uint8Array): Buffer {
  return fieldRowKey(fieldValuePrefix(id, text), rowKey, bucket);
}

/** How many more, or fewer, documents have each value of an indexed field. */
export class FieldCounts {
  readonly #changes = new Map<number, Map<string, number>>();

  add({ id }: FieldIndex, text: string, by: number): void {
    let changes = this.#changes.get(id);
    if (changes === undefined) {
      changes = new Map();
      this.#changes.set(id, changes);
    }
    changes.set(text, (changes.get(text) ?? 0) + by);
  }

  async rows(reader: KvReader): Promise<KvOperation[]> {
    const keys: Buffer[] = [];
    const changes: number[] = [];
    for (const [id, texts] of this.#changes) {
      for (const [text, by] of texts) {
        if (by === 0) continue;
        keys.push(fieldCountKey(id, text));
        changes.push(by);
      }
    }
    if (keys.length === 0) return [];
    const stored = await reader.getMany(keys);
    return keys.map((key, at): KvOperation => {
      const value = stored[at];
      const count = (value === undefined ? 0 : decodeNumber(value)) + (changes[at] ?? 0);
      if (count < 0) throw fewerThanNone();
      return count === 0 ? { type: "del", key } : { type: "put", key, value: encodeNumber(count) };
    });
  }
}

function fewerThanNone(): CairnError {
  return new CairnError(
    "INDEX_CORRUPT",
    "The index is not usable: it counts fewer documents than it removes.",
    {
      hint: "The node moves it aside and builds it anew from a checkpoint or from the log.",
    },
  );
}
