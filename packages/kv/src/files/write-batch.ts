import { CairnError, indexCorrupt } from "../errors/errors.ts";
import { VarintReader } from "./varint-reader.ts";

/** The size of a batch's header: the sequence number of its first change (8 bytes), and their number (4 bytes). */
export const BATCH_HEADER_BYTES = 12;
const DELETE = 0;
const PUT = 1;

/** A change in a batch. Without a value, it removes the row. */
export interface BatchChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** The format is that of write_batch.cc. Throws `INDEX_CORRUPT` if the bytes after the header are not changes. */
export function* changesOf(batch: Uint8Array): Generator<BatchChange, void, undefined> {
  const reader = new VarintReader(batch, noBatch);
  reader.position = BATCH_HEADER_BYTES;
  while (!reader.isAtEnd) {
    const tag = batch[reader.position++];
    if (tag !== PUT && tag !== DELETE) throw noBatch();
    const key = reader.bytes();
    yield { key, value: tag === PUT ? reader.bytes() : undefined };
  }
}

/** Checks that the batches of write-ahead logs follow one another without a gap. */
export class BatchOrder {
  /** The sequence number of the next change; undefined before the first batch. */
  #next: number | undefined;
  readonly #lastFlushed: number;

  /** `lastFlushed` is the sequence number of the last change that is certain to be in a table. */
  constructor(lastFlushed: number) {
    this.#lastFlushed = lastFlushed;
  }

  /** The sequence number of the last change; undefined before the first batch. */
  get last(): number | undefined {
    return this.#next === undefined ? undefined : this.#next - 1;
  }

  /**
   * Calls `onChange` for each change of a batch. Returns false if the batch is malformed or does not follow the one
   * before: if a page of a large batch is missing or contains the bytes of another page, each of the remaining fragments
   * is still valid by itself.
   */
  accept(batch: Uint8Array, onChange: (change: BatchChange, sequence: number) => void): boolean {
    if (batch.length < BATCH_HEADER_BYTES) return false;
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    const sequence = Number(view.getBigUint64(0, true));
    // Rows of the first log may already have been flushed and counted in the manifest, so only an upper bound is known.
    const isNext = this.#next === undefined ? sequence <= this.#lastFlushed + 1 : sequence === this.#next;
    if (!isNext) return false;
    let count = 0;
    try {
      for (const change of changesOf(batch)) {
        onChange(change, sequence + count);
        count += 1;
      }
    } catch (error) {
      if (error instanceof CairnError) return false;
      throw error;
    }
    this.#next = sequence + count;
    return count === view.getUint32(8, true);
  }
}

/** Texts of Latin 1 are compared like their bytes, and a map compares texts by their content. */
export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

function noBatch(): CairnError {
  return indexCorrupt("A batch of a write-ahead log is malformed.");
}
