import { createHash } from "node:crypto";
import { expect } from "vitest";
import type { KvOperation, KvReader, KvStore } from "../src/store/kv-store.ts";

const COUNT = Buffer.from("count");

/**
 * Writes counted rows as fast as the store accepts them, until it is stopped. Every batch also records the number of
 * rows after it, so that a prefix of the history can be distinguished from any other content.
 */
export class CountedWriter {
  readonly #store: KvStore;
  readonly #rows: number;
  readonly #valueBytes: number;
  readonly #running: Promise<void>;
  #count = 0;
  #stopped = false;
  #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  /** Begins writing immediately, with `rows` rows per batch. */
  constructor(store: KvStore, size: { readonly rows: number; readonly valueBytes: number }) {
    this.#store = store;
    this.#rows = size.rows;
    this.#valueBytes = size.valueBytes;
    this.#running = this.#write();
    // The failure is thrown by `until` and `stop`, and must not count as unhandled before they are called.
    this.#running.catch(() => {});
  }

  /** Returns the number of rows acknowledged so far. */
  get count(): number {
    return this.#count;
  }

  /** Waits until `count` rows have been acknowledged. */
  async reached(count: number): Promise<void> {
    if (this.#count >= count) return;
    const reached = new Promise<void>((resolve) => {
      this.#waiting.push({ count, resolve });
    });
    await Promise.race([reached, this.#running]);
  }

  /** Stops after the current batch. If a batch failed, throws its error. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      await this.#store.batch(countedBatch(this.#count, this.#rows, this.#valueBytes));
      this.#count += this.#rows;
      for (const waiter of this.#waiting) if (waiter.count <= this.#count) waiter.resolve();
      this.#waiting = this.#waiting.filter((waiter) => waiter.count > this.#count);
    }
  }
}

/** Returns the batch that writes `rows` rows after the first `count`, and the new count. */
export function countedBatch(count: number, rows: number, valueBytes: number): KvOperation[] {
  const operations: KvOperation[] = [];
  for (let index = count; index < count + rows; index++) {
    operations.push({ type: "put", ...countedRow(index, valueBytes) });
  }
  operations.push({ type: "put", key: COUNT, value: Buffer.from(String(count + rows)) });
  return operations;
}

/** Returns row number `index`. Keys are not in the order of writing, and no two rows have the same value. */
export function countedRow(index: number, valueBytes: number): { key: Uint8Array; value: Uint8Array } {
  const hash = createHash("sha256").update(String(index)).digest();
  const key = Buffer.concat([Buffer.from("row "), hash.subarray(0, 8), Buffer.from(` ${index}`)]);
  const value = Buffer.alloc(valueBytes);
  for (let filled = 0; filled < valueBytes; filled += hash.length) hash.copy(value, filled);
  value.writeUInt32BE(index, 0);
  return { key, value };
}

/**
 * Expects the rows of a store to be exactly the first rows that counted writers wrote, each with its content, and their
 * number to match the store's count. Returns the number.
 */
export async function expectWhole(reader: KvReader): Promise<number> {
  const stored = await reader.get(COUNT);
  const count = stored === undefined ? 0 : Number(Buffer.from(stored).toString());
  const seen = new Uint8Array(count);
  let rows = 0;
  for await (const page of reader.range({ gte: Buffer.from("row "), lt: Buffer.from("row!") })) {
    for (const [key, value] of page) {
      const index = Buffer.from(value.buffer, value.byteOffset, value.byteLength).readUInt32BE(0);
      const expected = countedRow(index, value.length);
      if (index >= count || seen[index] === 1)
        expect.fail(`row ${index} should not exist, or should exist only once`);
      if (Buffer.compare(key, expected.key) !== 0 || Buffer.compare(value, expected.value) !== 0) {
        expect.fail(`row ${index} is not as it was written`);
      }
      seen[index] = 1;
      rows += 1;
    }
  }
  expect(rows).toBe(count);
  return count;
}
