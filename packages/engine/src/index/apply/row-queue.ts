import type { KvOperation, KvRow } from "@cairn/kv";

/**
 * A queue of rows in key order that is used while a batch is applied. It contains the first rows of the store, up to
 * the number that the batch may take, and the rows that the batch adds. Which rows are taken does not depend on how the
 * log is divided into batches.
 */
export class RowQueue {
  readonly #stored: readonly KvRow[];
  /** The added rows in key order. Most of them are added at the end. */
  readonly #added: KvRow[] = [];
  readonly #removed: Uint8Array[] = [];
  #nextStored = 0;
  #nextAdded = 0;

  /** `stored` contains rows of the store in key order. */
  constructor(stored: readonly KvRow[]) {
    this.#stored = stored;
  }

  add(key: Uint8Array, value: Uint8Array): void {
    let low = this.#nextAdded;
    let high = this.#added.length;
    const last = this.#added[high - 1];
    if (high > low && last !== undefined && Buffer.compare(last[0], key) < 0) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      const row = this.#added[middle];
      if (row !== undefined && Buffer.compare(row[0], key) < 0) low = middle + 1;
      else high = middle;
    }
    const there = this.#added[low];
    const isThere = there !== undefined && Buffer.compare(there[0], key) === 0;
    this.#added.splice(low, isThere ? 1 : 0, [key, value]);
  }

  peek(): KvRow | undefined {
    const stored = this.#stored[this.#nextStored];
    const added = this.#added[this.#nextAdded];
    if (stored === undefined || added === undefined) return stored ?? added;
    // If the keys are equal, the added row takes precedence, because it would replace the stored one.
    return Buffer.compare(stored[0], added[0]) < 0 ? stored : added;
  }

  shift(): void {
    const first = this.peek();
    if (first === undefined) return;
    const stored = this.#stored[this.#nextStored];
    if (stored !== undefined && Buffer.compare(stored[0], first[0]) === 0) {
      this.#removed.push(stored[0]);
      this.#nextStored += 1;
    }
    if (this.#added[this.#nextAdded] === first) this.#nextAdded += 1;
  }

  /** Yields the changes to the store: removed rows, and added rows that were not taken. */
  *rows(): Generator<KvOperation> {
    for (const key of this.#removed) yield { type: "del", key };
    for (let at = this.#nextAdded; at < this.#added.length; at += 1) {
      const [key, value] = this.#added[at] ?? [];
      if (key !== undefined && value !== undefined) yield { type: "put", key, value };
    }
  }
}
