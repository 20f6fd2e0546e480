import type { KvOperation, KvReader, KvValue } from "@cairn/kv";
import { headsOf } from "../rows/index-rows.ts";
import { ROW } from "../rows/row-keys.ts";

/** The kinds of rows that are looked up by keys from messages. Most of these rows do not exist in a growing index. */
const LOOKED_UP: readonly number[] = [ROW.document, ROW.tombstone, ROW.submission, ROW.place];

/** 8 MiB: with 4 million rows, one in several hundred look-ups of an absent row still reads the store. */
const WORDS = 1 << 21;
/** The bits of a row are in one block, so that a look-up touches one cache line. */
const WORDS_PER_BLOCK = 16;
const BLOCKS = WORDS / WORDS_PER_BLOCK;
const BITS_PER_ROW = 6;
const BITS_PER_BLOCK = WORDS_PER_BLOCK * 32;

/**
 * Knows rows that an index cannot contain, because it has observed all of its batches since the index was empty (a
 * blocked Bloom filter). Looking up an absent row in LevelDB takes longer than everything else that applying a new
 * document needs, and causes compactions: LevelDB compacts tables that many look-ups had to pass.
 */
export class AbsentRows {
  readonly #bits = new Uint32Array(WORDS);

  /** Records the rows of a batch. Must be called before the batch is written. */
  written(rows: readonly KvOperation[]): void {
    for (const { type, key } of rows) if (type === "put" && isLookedUp(key)) this.#visit(key, true);
  }

  /** Returns a reader of the same rows that does not look up absent ones. */
  reader(kv: KvReader): KvReader {
    return { ...this.#reader(kv), heads: this.#reader(headsOf(kv)) } as KvReader;
  }

  #reader(kv: KvReader): KvReader {
    const get = (key: Uint8Array): KvValue => (this.#isAbsent(key) ? undefined : kv.get(key));
    const getMany = async (keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> => {
      const places: number[] = [];
      for (const [place, key] of keys.entries()) if (!this.#isAbsent(key)) places.push(place);
      const values = Array.from<Uint8Array | undefined>({ length: keys.length });
      if (places.length === 0) return values;
      const found = await kv.getMany(places.map((place) => keys[place] as Uint8Array));
      for (const [at, place] of places.entries()) values[place] = found[at];
      return values;
    };
    return { get, getMany, range: (range) => kv.range(range) };
  }

  #isAbsent(key: Uint8Array): boolean {
    return isLookedUp(key) && !this.#visit(key, false);
  }

  /** Returns whether all bits of a row are set, after setting them if `set` is true. */
  #visit(key: Uint8Array, set: boolean): boolean {
    const bits = this.#bits;
    const hash = hashOf(key);
    const block = (hash % BLOCKS) * WORDS_PER_BLOCK;
    let left = mixed(hash);
    for (let count = 0; count < BITS_PER_ROW; count += 1) {
      const bit = left % BITS_PER_BLOCK;
      const word = block + (bit >>> 5);
      const mask = 1 << (bit & 31);
      if (set) bits[word] = (bits[word] ?? 0) | mask;
      else if (((bits[word] ?? 0) & mask) === 0) return false;
      left = mixed(left + count);
    }
    return true;
  }
}

function isLookedUp(key: Uint8Array): boolean {
  return LOOKED_UP.includes(key[0] ?? 0);
}

/** FNV-1a with the finalizer of MurmurHash3. */
function hashOf(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1) hash = Math.imul(hash ^ (key[at] ?? 0), 0x01000193);
  return mixed(hash);
}

function mixed(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
