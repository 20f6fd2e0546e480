import { CairnError } from "../errors/errors.ts";

/** What stands before the changes of a batch: the sequence number of its first one (8 bytes), and how many there are (4 bytes). */
export const BATCH_HEADER_SIZE = 12;
const DELETE = 0;
const PUT = 1;
/** Of a length, 7 bits in each byte. */
const LENGTH_BITS = 35;

/** A change in a batch; without a value the row is removed. */
export interface BatchChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** The changes of a batch of LevelDB (write_batch.cc). `INDEX_CORRUPT` where what follows the header is none. */
export function* changesOf(batch: Uint8Array): Generator<BatchChange, void, undefined> {
  let at = BATCH_HEADER_SIZE;
  const part = (): Uint8Array => {
    let length = 0;
    for (let shift = 0; shift < LENGTH_BITS; shift += 7) {
      const byte = batch[at];
      if (byte === undefined) break;
      at += 1;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte > 0x7f) continue;
      if (at + length > batch.length) break;
      at += length;
      return batch.subarray(at - length, at);
    }
    throw noBatch();
  };
  while (at < batch.length) {
    const tag = batch[at];
    if (tag !== PUT && tag !== DELETE) throw noBatch();
    at += 1;
    const key = part();
    yield { key, value: tag === PUT ? part() : undefined };
  }
}

/** How many changes a batch holds; undefined where it is none. */
export function countChanges(batch: Uint8Array): number | undefined {
  let count = 0;
  try {
    for (const _ of changesOf(batch)) count += 1;
    return count;
  } catch (error) {
    if (error instanceof CairnError) return undefined;
    throw error;
  }
}

function noBatch(): CairnError {
  return new CairnError("INDEX_CORRUPT", "A batch of a write-ahead log does not consist of changes.", {
    hint: "Restore the index from a checkpoint; the transaction log has everything that is in it.",
  });
}
