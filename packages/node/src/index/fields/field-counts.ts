import type { KvReader } from "@cairn/kv";
import { fieldCountKey } from "../rows/field-row-keys.ts";
import { decodeNumber } from "../rows/row-values.ts";

/** The maximum number of cached counts. Fields usually have few values. */
const MAX_CACHED = 10_000;

/** The number of documents that have one value of an indexed field. */
export interface FieldCount {
  readonly id: number;
  readonly text: string;
  /** The key of the count's row. */
  readonly key: Buffer;
  /** The count in the store; undefined until it is read or written. */
  stored: number | undefined;
  /** The count in the batch that is being written. */
  next: number;
}

/**
 * A write-through cache of the numbers of documents by value. It belongs to the writer of one store, which need not
 * read the counts of recent batches again. New counts become valid once they have been written.
 */
export class FieldCounts {
  #known = new Map<number, Map<string, FieldCount>>();
  #size = 0;
  #set: FieldCount[] = [];

  /** Returns the count of a value of an indexed field. The count must then be read with {@link read}. */
  find(id: number, text: string): FieldCount {
    const known = this.#known.get(id)?.get(text);
    return known ?? { id, text, key: fieldCountKey(id, text), stored: undefined, next: 0 };
  }

  /**
   * Returns the counts as of the last call of {@link written}; 0 if there is no row. Discards counts that have been set
   * since then.
   */
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

  /** Sets the count of the batch that is being written. */
  set(count: FieldCount, next: number): void {
    count.next = next;
    this.#set.push(count);
  }

  /** Confirms that the batch was written. */
  written(): void {
    for (const count of this.#set) {
      if (count.stored === undefined) this.#add(count);
      count.stored = count.next;
    }
    this.#set = [];
  }

  #add(count: FieldCount): void {
    if (this.#size === MAX_CACHED) {
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
