import type { KvReader } from "@cairn/kv";
import { decodeNumber } from "./row-values.ts";

/** Values of indexed fields are few; of a field that has many, as many as this are known. */
const MOST = 10_000;

/**
 * How many documents have which value, as the store has it: what the last batches wrote need not be read again. For one store, by
 * whoever writes to it; what is set counts once it is written.
 */
export class FieldCounts {
  #stored = new Map<string, number>();
  #set = new Map<string, number>();

  /** The counts in the rows `keys`, zero where there is no row, as after the last {@link written}. Forgets what was set since. */
  async read(reader: KvReader, keys: readonly Buffer[]): Promise<number[]> {
    this.#set = new Map();
    const counts = keys.map((key) => this.#stored.get(nameOf(key)));
    const unknown = [...counts.keys()].filter((index) => counts[index] === undefined);
    if (unknown.length > 0) {
      const values = await reader.getMany(unknown.map((index) => keys[index] ?? EMPTY));
      for (const [at, index] of unknown.entries()) {
        const value = values[at];
        counts[index] = value === undefined ? 0 : decodeNumber(value);
      }
    }
    return counts.map((count) => count ?? 0);
  }

  /** What a row will hold once the batch is written. */
  set(key: Buffer, count: number): void {
    this.#set.set(nameOf(key), count);
  }

  /** The batch was written. */
  written(): void {
    if (this.#stored.size + this.#set.size > MOST) this.#stored = new Map();
    for (const [name, count] of this.#set) this.#stored.set(name, count);
    this.#set = new Map();
  }
}

const EMPTY = new Uint8Array(0);

function nameOf(key: Buffer): string {
  return key.toString("latin1");
}
