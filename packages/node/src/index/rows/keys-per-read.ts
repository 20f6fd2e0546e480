/** The store returns all values of a read together, so the number of keys depends on the largest document. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

/** Returns how many keys may be read at once if no document has more than `largest` bytes. */
export function keysPerRead(largest: number): number {
  return Math.max(1, Math.floor(MAX_READ_BYTES / Math.max(largest, 1)));
}
