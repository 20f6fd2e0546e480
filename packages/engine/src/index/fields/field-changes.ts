import { type KvOperation, type KvReader } from "@cairn/kv";
import { madeOnce } from "@cairn/text";
import type { FieldIndex } from "../policies/active-policies.ts";
import { readRows } from "../rows/row-cursor.ts";
import { fieldCountKey, fieldRowKey, fieldValuePrefix } from "../rows/field-row-keys.ts";
import { decodeNumber, encodeNumber } from "../rows/row-values.ts";
import { NO_BYTES, unusableIndex } from "../rows/row-checksum.ts";

interface ValueChange {
  readonly text: string;
  readonly prefix: Buffer;
  readonly rows: KvOperation[];
  /** The change in the number of documents that have the value. */
  by: number;
}

/** A row prepared for a document that has a value, but not yet added. */
interface FieldRow {
  readonly value: ValueChange;
  readonly put: KvOperation;
}

/** The rows of a document, prepared before it is known whether its transaction commits. */
export interface RowsAhead {
  /** The document's JSON from its message. */
  readonly written: Uint8Array;
  /** One row for each indexed field of the bucket; undefined for fields that the document does not have. */
  readonly rows: readonly (FieldRow | undefined)[];
}

/** There are few distinct values, so the common parts of their rows are cached. */
export class FieldChanges {
  readonly #values = new Map<number, Map<string, ValueChange>>();

  make(index: FieldIndex, text: string, rowKey: Uint8Array): FieldRow {
    const value = this.#valueOf(index, text);
    const key = fieldRowKey(value.prefix, rowKey, index.bucket);
    return { value, put: { type: "put", key, value: NO_BYTES } };
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

  async addTo(rows: KvOperation[], reader: KvReader): Promise<void> {
    const keys: Buffer[] = [];
    const changes: number[] = [];
    for (const [id, values] of this.#values) {
      for (const [text, value] of values) {
        // The rows are ordered by value, because the store finds neighboring rows faster.
        for (const row of value.rows) rows.push(row);
        value.rows.length = 0;
        if (value.by === 0) continue;
        keys.push(fieldCountKey(id, text));
        changes.push(value.by);
      }
    }
    this.#values.clear();
    const before = await readRows(reader, keys);
    for (const [at, key] of keys.entries()) {
      const value = before[at];
      const count = (value === undefined ? 0 : decodeNumber(key, value)) + (changes[at] ?? 0);
      if (count < 0) throw unusableIndex("it counts fewer documents than it removes");
      rows.push(count === 0 ? { type: "del", key } : { type: "put", key, value: encodeNumber(key, count) });
    }
  }

  #valueOf({ id }: FieldIndex, text: string): ValueChange {
    const values = madeOnce(this.#values, id, () => new Map<string, ValueChange>());
    return madeOnce(values, text, () => ({ text, prefix: fieldValuePrefix(id, text), rows: [], by: 0 }));
  }
}
