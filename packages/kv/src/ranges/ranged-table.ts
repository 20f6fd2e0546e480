import type { CairnError } from "../errors/errors.ts";
import { levelFileName } from "../files/level-files.ts";
import { KEY_SUFFIX_BYTES, type LevelTable } from "../files/level-manifest.ts";
import { VarintReader } from "../files/varint-reader.ts";
import {
  type BlockContent,
  blockHandle,
  checkBlock,
  contentOf,
  damagedTable,
  findRoots,
  FOOTER_BYTES,
  type Handle,
  rowsInContent,
  type TableRow,
  TRAILER_BYTES,
} from "../tables/check-table.ts";
import { FILTER_NAME, mayMatch } from "./bloom-filter.ts";
import type { RecentlyUsed } from "./recently-used.ts";

/** The files of a closed LevelDB database that are somewhere else, such as in an archive, and are read in ranges. */
export interface RangedFiles {
  /** A noun phrase for messages: the place that contains the files. */
  readonly place: string;
  readonly sizes: ReadonlyMap<string, number>;
  /** Returns the content of a small file, or of a write-ahead log. */
  whole(name: string): Promise<Buffer>;
  /** Returns the bytes of a file from `start` up to but not including `end`. */
  read(name: string, start: number, end: number): Promise<Buffer>;
}

/** What is read first of a table, from its end, unless the tail of a similar table is known. */
const TAIL_BYTES = 128 * 1024;
/** How much more is read than the tail of a similar table has, because a second request takes longer. */
const TAIL_MARGIN = 1.1;
/** The memory that a part of a table needs in addition to its bytes, approximately. */
const PART_BYTES = 400;

/** The index of a table's blocks, and its filters. */
export interface Tail {
  readonly index: Buffer;
  /** The end of the entries in the index, and their number. */
  readonly end: number;
  readonly blocks: number;
  readonly filters: Buffer | undefined;
}

/**
 * What is kept of tables: their tails, and their blocks. Rows are decoded again for each read, because they need several
 * times the memory of their block.
 */
export type TablePart = Tail | BlockContent;

/** What the tables of a database share. */
export interface SharedParts {
  readonly parts: RecentlyUsed<TablePart>;
  /** The sizes of tails, by the first bytes of the keys in their tables: keys that begin alike have rows of one kind. */
  readonly tailBytes: Map<string, number>;
}

/** A table that is read block by block. Whatever differs from its checksum is refused as `INDEX_CORRUPT`. */
export class RangedTable {
  readonly level: number;
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly #name: string;
  readonly #bytes: number;
  readonly #files: RangedFiles;
  readonly #parts: RecentlyUsed<TablePart>;
  readonly #tailBytes: Map<string, number>;

  constructor(
    { number, level, bytes, first, last }: LevelTable,
    files: RangedFiles,
    { parts, tailBytes }: SharedParts,
  ) {
    this.level = level;
    this.first = first;
    this.last = last;
    this.#name = levelFileName(number, "ldb");
    this.#bytes = bytes;
    this.#files = files;
    this.#parts = parts;
    this.#tailBytes = tailBytes;
    const size = files.sizes.get(this.#name);
    if (size !== bytes) throw this.#damaged(size === undefined ? "it is missing" : "it has the wrong size");
    if (size < FOOTER_BYTES) throw this.#damaged("it is too short");
  }

  /** Returns the newest change of a key in this table, if any. `hash` is the key's {@link bloomHash}. */
  async find(key: Uint8Array, hash: number): Promise<TableRow | undefined> {
    const tail = await this.tail();
    const at = this.blockAt(tail, key);
    if (at === tail.blocks) return undefined;
    const { filters } = tail;
    if (filters !== undefined && !mayMatch(filters, this.#entry(tail, at).block.offset, hash))
      return undefined;
    for (const row of rowsInContent(this.#path, await this.#content(tail, at, 0))) {
      const order = Buffer.compare(row.key, key);
      if (order >= 0) return order === 0 ? row : undefined;
    }
    return undefined;
  }

  tail(): Tail | Promise<Tail> {
    return this.#parts.get(this.#name, () => this.#readTail()) as Tail | Promise<Tail>;
  }

  /**
   * Returns the number of the first block that may contain rows at or after `key`. The first version of a key, which is
   * the newest, is in the first block that may contain the key.
   */
  blockAt(tail: Tail, key: Uint8Array): number {
    return lowerBound(tail.blocks, (at) => this.#entry(tail, at).upTo, key);
  }

  /**
   * Returns the rows of a block. If they are not kept, reads them, and in the same request about `ahead` bytes of the
   * blocks that follow or, if it is negative, that precede.
   */
  async rows(tail: Tail, at: number, ahead: number): Promise<readonly TableRow[]> {
    return [...rowsInContent(this.#path, await this.#content(tail, at, ahead))];
  }

  #content(tail: Tail, at: number, ahead: number): BlockContent | Promise<BlockContent> {
    const { block } = this.#entry(tail, at);
    const kept = this.#parts.get(this.#keyOf(block), () => this.#readContents(tail, at, ahead));
    return kept as BlockContent | Promise<BlockContent>;
  }

  #readContents(tail: Tail, at: number, ahead: number): Promise<readonly [BlockContent, number]> {
    const { block } = this.#entry(tail, at);
    const step = ahead < 0 ? -1 : 1;
    const others: [block: Handle, at: number][] = [];
    let bytes = block.size;
    for (let next = at + step; bytes < Math.abs(ahead) && next >= 0 && next < tail.blocks; next += step) {
      const other = this.#entry(tail, next).block;
      if (this.#parts.has(this.#keyOf(other))) break;
      others.push([other, next]);
      bytes += other.size;
    }
    const run = [block, ...others.map(([other]) => other)];
    const start = Math.min(...run.map(({ offset }) => offset));
    const end = Math.max(...run.map(({ offset, size }) => offset + size + TRAILER_BYTES));
    const reading = this.#files.read(this.#name, start, end);
    const checked = async (
      { offset, size }: Handle,
      place: number,
    ): Promise<readonly [BlockContent, number]> => {
      const from = offset - start;
      const bytesOf = (await reading).subarray(from, from + size + TRAILER_BYTES);
      const found = this.#checkedContent(bytesOf, tail, place);
      return [found, found.content.length + PART_BYTES];
    };
    for (const [other, place] of others) {
      const kept = this.#parts.get(this.#keyOf(other), async () => await checked(other, place));
      // What is read ahead may never be awaited.
      if (kept instanceof Promise) kept.catch(() => undefined);
    }
    return checked(block, at);
  }

  #keyOf({ offset }: Handle): string {
    return `${this.#name} ${offset}`;
  }

  /** The keys show that the block is the one at this place of the index: a checksum does not show where it belongs. */
  #checkedContent(block: Buffer, tail: Tail, at: number): BlockContent {
    const content = contentOf(this.#path, block);
    const rows = [...rowsInContent(this.#path, content)];
    const lowest = at === 0 ? this.first : this.#entry(tail, at - 1).upTo;
    const highest = at === tail.blocks - 1 ? this.last : this.#entry(tail, at).upTo;
    const [first, last] = [rows[0]?.key, rows.at(-1)?.key];
    const isOutside =
      first === undefined ||
      last === undefined ||
      Buffer.compare(first, lowest) < 0 ||
      Buffer.compare(last, highest) > 0;
    if (isOutside) throw this.#damaged("a block is not in its place");
    return content;
  }

  async #readTail(): Promise<readonly [Tail, number]> {
    const size = this.#bytes;
    const similar = `${this.first[0]} ${this.last[0]}`;
    let start = Math.max(0, size - (this.#tailBytes.get(similar) ?? TAIL_BYTES));
    let begin = size;
    let bytes = await this.#files.read(this.#name, start, size);
    /** Returns a block with its trailer, after reading what precedes the tail if the block begins there. */
    const blockOf = async ({ offset, size: length }: Handle): Promise<Buffer> => {
      if (offset + length + TRAILER_BYTES > size) throw this.#damaged("it is truncated");
      begin = Math.min(begin, offset);
      if (offset < start) {
        bytes = Buffer.concat([await this.#files.read(this.#name, offset, start), bytes]);
        start = offset;
      }
      return bytes.subarray(offset - start, offset - start + length + TRAILER_BYTES);
    };
    const [filterIndex, rowIndex] = findRoots(this.#path, bytes.subarray(-FOOTER_BYTES), size);
    const filter = this.#filterOf(contentOf(this.#path, await blockOf(filterIndex)));
    const filters = filter && (await this.#checked(filter, blockOf));
    const { content, end } = contentOf(this.#path, await blockOf(rowIndex));
    this.#tailBytes.set(similar, Math.ceil((size - begin) * TAIL_MARGIN));
    // Neither may keep all of `bytes` alive.
    const tail: Tail = {
      index: Buffer.from(content.buffer, content.byteOffset, content.byteLength),
      end,
      blocks: (content.length - 4 - end) / 4,
      filters: filters && Buffer.from(filters),
    };
    const isOther =
      tail.blocks === 0 || Buffer.compare(this.#entry(tail, tail.blocks - 1).upTo, this.last) < 0;
    if (isOther) throw this.#damaged("its index is not in its place");
    return [tail, tail.index.length + (filters?.length ?? 0) + PART_BYTES];
  }

  async #checked(filter: Handle, blockOf: (block: Handle) => Promise<Buffer>): Promise<Buffer> {
    const block = await blockOf(filter);
    checkBlock(this.#path, block, 0, filter.size);
    return block.subarray(0, filter.size);
  }

  /** Filters are not compressed. A table has none if no row was written with them. */
  #filterOf({ content, end }: ReturnType<typeof contentOf>): Handle | undefined {
    const reader = this.#reader(content.subarray(0, end));
    while (!reader.isAtEnd) {
      reader.number();
      const [nameBytes] = [reader.number(), reader.number()];
      const name = Buffer.from(reader.bytes(nameBytes)).toString("latin1");
      const handle = blockHandle(reader);
      if (name === FILTER_NAME) return handle;
    }
    return undefined;
  }

  /** Returns the block of an entry of the index, and the key up to which its rows are. Entries share no keys. */
  #entry({ index, end }: Tail, at: number): { readonly block: Handle; readonly upTo: Uint8Array } {
    const reader = this.#reader(index.subarray(0, end));
    reader.position = index.readUInt32LE(end + 4 * at);
    const [shared, keyBytes] = [reader.number(), reader.number()];
    reader.number();
    if (shared > 0 || keyBytes < KEY_SUFFIX_BYTES) throw this.#damaged("its index is not readable");
    const upTo = reader.bytes(keyBytes).subarray(0, -KEY_SUFFIX_BYTES);
    const block = blockHandle(reader);
    if (block.offset + block.size + TRAILER_BYTES > this.#bytes) throw this.#damaged("it is truncated");
    return { block, upTo };
  }

  #reader(bytes: Uint8Array): VarintReader {
    return new VarintReader(bytes, () => this.#damaged("its index is not readable"));
  }

  get #path(): string {
    return `${this.#name} of ${this.#files.place}`;
  }

  #damaged(how: string): CairnError {
    return damagedTable(this.#path, how);
  }
}

/** Returns the first of sorted places whose key is not before `key`, or the number of places if all keys are. */
export function lowerBound(places: number, keyAt: (place: number) => Uint8Array, key: Uint8Array): number {
  let low = 0;
  let high = places;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(keyAt(middle), key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
