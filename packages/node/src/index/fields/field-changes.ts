import { type KvOperation, type KvReader } from "@cairn/kv";
import type { FieldIndex } from "../policies/active-policies.ts";
import type { FieldCount, FieldCounts } from "./field-counts.ts";
import { fieldRowKey, fieldValuePrefix } from "../rows/field-row-keys.ts";
import { encodeNumber } from "../rows/row-values.ts";
import { unusableIndex } from "../rows/unusable-index.ts";

const EMPTY = new Uint8Array(0);

/** What changes of the documents that have one value of an indexed field. */
interface ValueChange {
  readonly text: string;
  /** Of the value's rows. */
  readonly prefix: Buffer;
  readonly rows: KvOperation[];
  /** How many more, or fewer, documents have it. */
  by: number;
}

/** A row that says that a document has a value: made, which does not say yet that it is added. */
export interface FieldRow {
  readonly value: ValueChange;
  readonly put: KvOperation;
}

/** The rows of a document that a message writes, made before it is known whether it commits. */
export interface RowsAhead {
  /** The document's JSON as it lies in its message. */
  readonly written: Uint8Array;
  /** One for each indexed field that it has. */
  readonly rows: readonly (FieldRow | undefined)[];
}

/** Rows of indexed fields to add and remove, and the counters that go with them. Values are few, so what they have in common is kept. */
export class FieldChanges {
  readonly #values = new Map<number, Map<string, ValueChange>>();

  /** The row that says that the document of a row key has a value. */
  make(index: FieldIndex, text: string, rowKey: Uint8Array): FieldRow {
    const value = this.#valueOf(index, text);
    const key = fieldRowKey(value.prefix, rowKey, index.bucket);
    return { value, put: { type: "put", key, value: EMPTY } };
  }

  add({ value, put }: FieldRow): void {
    value.by += 1;
    value.rows.push(put);
  }

  remove(index: FieldIndex, text: string, rowKey: Uint8Array): void {
    const value = this.#valueOf(index, text);
    value.by -= 1;
    value.rows.push({ type: "del", key: fieldRowKey(value.prefix, rowKey, index.bucket) });
  }

  /** Adds everything to the rows of a batch, and forgets it. What it counts is so in `counts` once the batch is written. */
  async addTo(rows: KvOperation[], reader: KvReader, counts: FieldCounts): Promise<void> {
    const changed: FieldCount[] = [];
    const changes: number[] = [];
    for (const [id, values] of this.#values) {
      for (const [text, value] of values) {
        // One after the other: the store finds the place of each near the one before.
        for (const row of value.rows) rows.push(row);
        value.rows.length = 0;
        if (value.by === 0) continue;
        changed.push(counts.find(id, text));
        changes.push(value.by);
      }
    }
    this.#values.clear();
    const before = await counts.read(reader, changed);
    for (const [at, count] of changed.entries()) {
      const next = (before[at] ?? 0) + (changes[at] ?? 0);
      if (next < 0) throw unusableIndex("it counts fewer documents than it removes");
      const { key } = count;
      rows.push(next === 0 ? { type: "del", key } : { type: "put", key, value: encodeNumber(key, next) });
      counts.set(count, next);
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
      value = { text, prefix: fieldValuePrefix(id, text), rows: [], by: 0 };
      values.set(text, value);
    }
    return value;
  }
}
