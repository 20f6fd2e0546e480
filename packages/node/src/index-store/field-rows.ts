import { CairnError, type KvOperation, type KvReader } from "@cairn/kv";
import type { ActivePolicies, FieldIndex } from "../policies/active-policies.ts";
import type { KeyState } from "./key-states.ts";
import type { FieldCounts } from "./field-counts.ts";
import { fieldTexts } from "./field-texts.ts";
import { fieldCountKey, fieldRowKey, fieldValuePrefix } from "./field-row-keys.ts";
import { encodeNumber } from "./row-values.ts";

/**
 * Indexed fields whose rows are being built, with the document row up to which they are (empty: none yet). Those that are not here
 * are whole. What is behind that row is left to the building.
 */
export type FieldBuilds = ReadonlyMap<number, Uint8Array>;

/** What is known of a store's indexed fields by whoever writes to it. */
export interface FieldKnowledge {
  readonly builds: FieldBuilds;
  readonly counts: FieldCounts;
}

/** Adds the rows of indexed fields that change with a batch: nothing but the difference between the documents before and after it. */
export async function addFieldRows(
  rows: KvOperation[],
  keys: readonly KeyState[],
  indexed: ActivePolicies["indexed"],
  { builds, counts }: FieldKnowledge,
  reader: KvReader,
): Promise<void> {
  const changes = new FieldChanges(rows);
  for (const { bucket, rowKey, before, document } of keys) {
    const indexes = before === document ? undefined : indexed.get(bucket.name);
    if (indexes === undefined) continue;
    const old = fieldTexts(before, indexes);
    const now = fieldTexts(document, indexes);
    for (const [at, index] of indexes.entries()) {
      const built = builds.size === 0 ? undefined : builds.get(index.id);
      if (built !== undefined && Buffer.compare(rowKey, built) > 0) continue;
      const from = old[at];
      const to = now[at];
      if (from === to) continue;
      if (from !== undefined) changes.remove(index, from, rowKey);
      if (to !== undefined) changes.add(index, to, rowKey);
    }
  }
  await changes.addCounts(reader, counts);
}

const EMPTY = new Uint8Array(0);

interface ValueChange {
  /** Of the value's rows. */
  readonly prefix: Buffer;
  /** How many more, or fewer, documents have it. */
  by: number;
}

/** Rows of indexed fields to add and remove, and the counters that go with them. Values are few, so what they have in common is kept. */
export class FieldChanges {
  readonly #rows: KvOperation[];
  readonly #values = new Map<number, Map<string, ValueChange>>();

  /** `rows` is what the changes are added to. */
  constructor(rows: KvOperation[]) {
    this.#rows = rows;
  }

  add(index: FieldIndex, text: string, rowKey: Uint8Array): void {
    const value = this.#valueOf(index, text);
    value.by += 1;
    this.#rows.push({ type: "put", key: fieldRowKey(value.prefix, rowKey, index.bucket), value: EMPTY });
  }

  remove(index: FieldIndex, text: string, rowKey: Uint8Array): void {
    const value = this.#valueOf(index, text);
    value.by -= 1;
    this.#rows.push({ type: "del", key: fieldRowKey(value.prefix, rowKey, index.bucket) });
  }

  /** What is added counts in `counts` once it is written. */
  async addCounts(reader: KvReader, counts: FieldCounts): Promise<void> {
    const keys: Buffer[] = [];
    const changes: number[] = [];
    for (const [id, values] of this.#values) {
      for (const [text, { by }] of values) {
        if (by === 0) continue;
        keys.push(fieldCountKey(id, text));
        changes.push(by);
      }
    }
    const before = await counts.read(reader, keys);
    for (const [at, key] of keys.entries()) {
      const count = (before[at] ?? 0) + (changes[at] ?? 0);
      if (count < 0) throw fewerThanNone();
      this.#rows.push(count === 0 ? { type: "del", key } : { type: "put", key, value: encodeNumber(count) });
      counts.set(key, count);
    }
  }

  #valueOf({ id }: FieldIndex, text: string): ValueChange {
    let values = this.#values.get(id);
    if (values === undefined) {
      values = new Map();
      this.#values.set(id, values);
    }
    let value = values.get(text);
    if (value === undefined) {
      value = { prefix: fieldValuePrefix(id, text), by: 0 };
      values.set(text, value);
    }
    return value;
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
