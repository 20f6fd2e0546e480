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

/** Returns the number of a batch's changes and the key of the last one; undefined if its bytes are not changes. */
export function changesIn(
  batch: Uint8Array,
): { readonly count: number; readonly lastKey: Uint8Array | undefined } | undefined {
  let count = 0;
  let lastKey: Uint8Array | undefined;
  try {
    for (const { key } of changesOf(batch)) {
      count += 1;
      lastKey = key;
    }
    return { count, lastKey };
  } catch (error) {
    if (error instanceof CairnError) return undefined;
    throw error;
  }
}

function noBatch(): CairnError {
  return indexCorrupt("A batch of a write-ahead log is malformed.");
}
