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

/** Adds the rows of indexed fields that change with a batch: nothing but the difference between the documents before and after it. */
export async function addFieldRows(
  rows: KvOperation[],
  keys: readonly KeyState[],
  indexed: ActivePolicies["indexed"],
  builds: FieldBuilds,
  reader: KvReader,
): Promise<void> {
  const changes = new FieldChanges(rows);
  for (const { bucket, rowKey, before, document } of keys) {
    const indexes = before === document ? undefined : indexed.get(bucket.name);
    if (indexes === undefined) continue;
    const old = before === undefined ? undefined : versionValueJson(before);
    const now = document === undefined ? undefined : versionValueJson(document);
    for (const index of indexes) {
      const built = builds.size === 0 ? undefined : builds.get(index.id);
      if (built !== undefined && Buffer.compare(rowKey, built) > 0) continue;
      const from = old === undefined ? undefined : fieldText(index, old);
      const to = now === undefined ? undefined : fieldText(index, now);
      if (from === to) continue;
      if (from !== undefined) changes.remove(index, from, rowKey);
      if (to !== undefined) changes.add(index, to, rowKey);
    }
  }
  await changes.addCounts(reader);
}

const EMPTY = new Uint8Array(0);

/** The value by which a document is found; undefined where it has none. */
export function fieldText(
  { path }: FieldIndex,
  document: NonNullable<ReturnType<typeof versionValueJson>> | null,
) {
  return comparableText(fieldValue(document, path));
}

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

  async addCounts(reader: KvReader): Promise<void> {
    const keys: Buffer[] = [];
    const changes: number[] = [];
    for (const [id, values] of this.#values) {
      for (const [text, { by }] of values) {
        if (by === 0) continue;
        keys.push(fieldCountKey(id, text));
        changes.push(by);
      }
    }
    if (keys.length === 0) return;
    const stored = await reader.getMany(keys);
    for (const [at, key] of keys.entries()) {
      const value = stored[at];
      const count = (value === undefined ? 0 : decodeNumber(value)) + (changes[at] ?? 0);
      if (count < 0) throw fewerThanNone();
      this.#rows.push(count === 0 ? { type: "del", key } : { type: "put", key, value: encodeNumber(count) });
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
