import type { KvRange, KvReader, KvRow } from "@cairn/kv";

/** Measures what a reader holds in memory at once. */
export class LargestRead {
  /** The largest number of bytes of values that one `getMany` returned. */
  bytes = 0;
  /** The largest number of ranges that were open at the same time. */
  ranges = 0;
  #open = 0;

  /** Forgets what was measured so far. */
  reset(): void {
    this.bytes = 0;
    this.ranges = 0;
  }

  /** Returns a measured reader of the same rows. */
  of<Reader extends KvReader>(reader: Reader): Reader {
    return new Proxy(reader, {
      get: (target, name) => {
        if (name === "getMany") return (keys: readonly Uint8Array[]) => this.#getMany(target, keys);
        if (name === "range") return (range: KvRange) => this.#range(target.range(range));
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }

  async #getMany(reader: KvReader, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const values = await reader.getMany(keys);
    const bytes = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    this.bytes = Math.max(this.bytes, bytes);
    return values;
  }

  async *#range(rows: AsyncIterable<readonly KvRow[]>): AsyncGenerator<readonly KvRow[], void> {
    this.#open += 1;
    this.ranges = Math.max(this.ranges, this.#open);
    try {
      yield* rows;
    } finally {
      this.#open -= 1;
    }
  }
}
