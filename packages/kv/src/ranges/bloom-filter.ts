// LevelDB's util/bloom.cc and table/filter_block.cc: one filter for every 2 KiB of blocks, then the offsets of the
// filters, the offset of these offsets, and the logarithm of the 2 KiB.

/** The entry of a table's index of filters that names the filters described above. */
export const FILTER_NAME = "filter.leveldb.BuiltinBloomFilter2";

const ENDING_BYTES = 5;
/** Larger numbers of probes are reserved for other encodings, which match everything. */
const MAX_PROBES = 30;
const SEED = 0xbc9f1d34;
const FACTOR = 0xc6a4a793;

/** Returns the hash of a row's key that {@link mayMatch} needs. */
export function bloomHash(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  let hash = (SEED ^ Math.imul(key.length, FACTOR)) >>> 0;
  let at = 0;
  for (; at + 4 <= key.length; at += 4) {
    hash = Math.imul((hash + view.getUint32(at, true)) >>> 0, FACTOR) >>> 0;
    hash = (hash ^ (hash >>> 16)) >>> 0;
  }
  const rest = key.length - at;
  if (rest === 0) return hash;
  for (let byte = rest - 1; byte >= 0; byte -= 1) hash = (hash + ((key[at + byte] ?? 0) << (8 * byte))) >>> 0;
  hash = Math.imul(hash, FACTOR) >>> 0;
  return (hash ^ (hash >>> 24)) >>> 0;
}

/** Returns whether the block at `offset` may contain the key with this hash. A filter that is not valid excludes none. */
export function mayMatch(filters: Buffer, offset: number, hash: number): boolean {
  if (filters.length < ENDING_BYTES) return true;
  const offsets = filters.readUInt32LE(filters.length - ENDING_BYTES);
  const number = Math.floor(offset / 2 ** (filters[filters.length - 1] ?? 0));
  const entry = offsets + 4 * number;
  if (entry + 8 > filters.length - 1) return true;
  const start = filters.readUInt32LE(entry);
  const end = filters.readUInt32LE(entry + 4);
  // No block begins in these 2 KiB, so no key is in it.
  if (start === end) return false;
  if (start > end || end > offsets || end - start < 2) return true;
  const probes = filters[end - 1] ?? 0;
  if (probes > MAX_PROBES) return true;
  const bits = (end - start - 1) * 8;
  const step = ((hash >>> 17) | (hash << 15)) >>> 0;
  let bit = hash;
  for (let probe = 0; probe < probes; probe += 1) {
    const place = bit % bits;
    if (((filters[start + (place >>> 3)] ?? 0) & (1 << (place & 7))) === 0) return false;
    bit = (bit + step) >>> 0;
  }
  return true;
}
