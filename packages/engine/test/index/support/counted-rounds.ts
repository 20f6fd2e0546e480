import type { KvRange, KvReader, KvRow } from "@cairn/kv";

/**
 * Counts the rounds of reads: reads of one round are answered together, once nothing can be done without an answer, as
 * if each took the same long time.
 */
export class CountedRounds {
  rounds = 0;
  /** The number of keys and pages of ranges that were read. */
  reads = 0;
  #running = 0;
  #waiting: (() => void)[] = [];

  /** Returns a counted reader of the same rows. */
  of(reader: KvReader): KvReader {
    return {
      get: (key) => this.#inRound(1, async () => await reader.get(key)),
      getMany: (keys) => this.#inRound(keys.length, () => reader.getMany(keys)),
      range: (range) => this.#range(reader, range),
    };
  }

  async *#range(reader: KvReader, range: KvRange): AsyncGenerator<readonly KvRow[], void> {
    const pages = reader.range(range)[Symbol.asyncIterator]();
    let left = range.limit ?? Infinity;
    try {
      while (left > 0) {
        const { done, value } = await this.#inRound(1, () => pages.next());
        if (done === true) return;
        left -= value.length;
        yield value;
      }
    } finally {
      await pages.return?.();
    }
  }

  async #inRound<T>(reads: number, read: () => Promise<T>): Promise<T> {
    this.reads += reads;
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#plan();
    });
    this.#running += 1;
    try {
      return await read();
    } finally {
      this.#running -= 1;
      this.#plan();
    }
  }

  #plan(): void {
    setImmediate(() => {
      if (this.#running > 0 || this.#waiting.length === 0) return;
      this.rounds += 1;
      for (const answer of this.#waiting.splice(0)) answer();
    });
  }
}
