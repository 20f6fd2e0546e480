import type { KvReader } from "@cairn/kv";
import { fieldCountKey } from "../rows/field-row-keys.ts";
import { decodeNumber } from "../rows/row-values.ts";

/** Values of indexed fields are few; of a field that has many, as many as this are known. */
const MOST = 10_000;

/** How many documents have one value of an indexed field. */
export interface FieldCount {
  readonly id: number;
  readonly text: string;
  /** The count's row. */
  readonly key: Buffer;
  /** As the store has it; undefined until that was read or written. */
  stored: number | undefined;
  /** As the batch that is being written has it. */
  next: number;
}

/**
 * How many documents have which value, as the store has it: what the last batches wrote need not be read again. For one store, by
 * whoever writes to it; what is set counts once it is written.
 */
export class FieldCounts {
  #known = new Map<number, Map<string, FieldCount>>();
  #size = 0;
  #set: FieldCount[] = [];

  /** The count of a value of the indexed field with that number, to be read by {@link read}. */
  find(id: number, text: string): FieldCount {
    const known = this.#known.get(id)?.get(text);
    return known ?? { id, text, key: fieldCountKey(id, text), stored: undefined, next: 0 };
  }

  /** The counts as after the last {@link written}, zero where the store has no row. Forgets what was set since. */
  async read(reader: KvReader, counts: readonly FieldCount[]): Promise<number[]> {
    this.#set = [];
    const found = counts.map(({ stored }) => stored);
    const unknown = [...found.keys()].filter((index) => found[index] === undefined);
    if (unknown.length > 0) {
      const values = await reader.getMany(unknown.map((index) => counts[index]?.key ?? EMPTY));
      for (const [at, index] of unknown.entries()) {
        const value = values[at];
        const key = counts[index]?.key;
        found[index] = value === undefined || key === undefined ? 0 : decodeNumber(key, value);
      }
    }
    return found.map((count) => count ?? 0);
  }

  /** What a row will hold once the batch is written. */
  set(count: FieldCount, next: number): void {
    count.next = next;
    this.#set.push(count);
  }

  /** The batch was written. */
  written(): void {
    for (const count of this.#set) {
      if (count.stored === undefined) this.#add(count);
      count.stored = count.next;
    }
    this.#set = [];
  }

  #add(count: FieldCount): void {
    if (this.#size === MOST) {
      this.#known = new Map();
      this.#size = 0;
    }
    let texts = this.#known.get(count.id);
    if (texts === undefined) {
      texts = new Map();
      this.#known.set(count.id, texts);
    }
    texts.set(count.text, count);
    this.#size += 1;
  }
}

const EMPTY = new Uint8Array(0);
