import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { crc32c, unmaskCrc } from "../files/crc32c.ts";
import { type CairnError, indexCorrupt } from "../errors/errors.ts";
import { KEY_SUFFIX_BYTES, rowKeyOf } from "../files/level-manifest.ts";
import { unsnappy } from "../files/snappy.ts";
import { VarintReader } from "../files/varint-reader.ts";
import { closing } from "../concurrency/closing.ts";

// LevelDB's table format (its doc/table_format.md) consists of blocks, each with a trailer that contains its
// compression and its checksum, and a footer at the end, which names the index of the blocks and the index of the
// filters. The footer consists of two block handles, padded to 40 bytes, and a magic number of 8 bytes, here in two
// halves.
export const FOOTER_BYTES = 48;
const MAGIC = [0x8b80fb57, 0xdb477524] as const;
/** A compression byte (0: none, 1: Snappy), and the masked CRC-32C of the content and that byte. */
export const TRAILER_BYTES = 5;
const COMPRESSED = 1;
// The footer first names the index of the filters, and then the index of the rows.
const INDEX_ROOT = 1;
// The size is small enough that computing the checksums of one read does not block anything for long.
const READ_BYTES = 128 * 1024;

const TRUNCATED = "it is truncated";
const UNREADABLE = "its index is not readable";

export interface Block {
  readonly offset: number;
  /** The size in bytes, without the trailer. */
  readonly size: number;
  /**
   * An upper bound of the keys in the block, in the form of LevelDB's keys. Undefined for a filter, and if it was not
   * requested.
   */
  readonly upTo: Uint8Array | undefined;
}

/** Reads `length` bytes of a table. Throws if the table is cut short. The result is valid until the next call. */
export type Read = (position: number, length: number) => Promise<Buffer>;

/** Called after each piece with the time it took (ms) and its length. The next piece waits for the returned promise. */
export type Pause = (busyMs: number, bytes: number) => Promise<void>;

/**
 * Compares every block of a table with its checksum. LevelDB, as it is built here, does not do so when it reads, so a
 * flipped bit would be served as if it had been written. Throws `INDEX_CORRUPT` for the first block that differs. Uses
 * 128 KiB of memory, or the size of the table's index (a hundredth of the table) if that is larger.
 */
export async function checkTable(path: string, pause?: Pause): Promise<void> {
  await closing(await open(path), async (file) => {
    const { size } = await file.stat();
    await checkBlocks(path, size, readerOf(path, file), pause);
  });
}

/** Reads synchronously, for worker threads, which then do not use the shared I/O threads. */
export async function checkTableSync(path: string, pause: Pause): Promise<void> {
  const file = openSync(path, "r");
  try {
    await checkBlocks(path, fstatSync(file).size, readerOf(path, file), pause);
  } finally {
    closeSync(file);
  }
}

/** Returns a function that reads an open table into a buffer of its own. It reads a descriptor synchronously. */
export function readerOf(path: string, file: FileHandle | number): Read {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  return async (position, length) => {
    const target = buffer.length >= length ? buffer.subarray(0, length) : Buffer.allocUnsafe(length);
    const read =
      typeof file === "number"
        ? readSync(file, target, 0, length, position)
        : (await file.read(target, 0, length, position)).bytesRead;
    if (read < length) throw damagedTable(path, TRUNCATED);
    return target;
  };
}

/**
 * Like {@link checkTable}, for a table whose content is already in memory. `path` is used only in messages. Calls
 * `pause` after each block with the number of bytes that were checked.
 */
export function checkTableBytes(path: string, bytes: Buffer, pause: (bytes: number) => void): void {
  const size = bytes.length;
  for (const root of findRoots(path, bytes.subarray(-FOOTER_BYTES), size)) {
    const rootBytes = bytes.subarray(root.offset, root.offset + root.size + TRAILER_BYTES);
    forEachBlock({ path, size }, rootBytes, false, (offset, length) => {
      checkBlock(path, bytes, offset, length);
      pause(length + TRAILER_BYTES);
    });
  }
}

async function checkBlocks(path: string, size: number, read: Read, pause?: Pause): Promise<void> {
  for (const run of runs(await findBlocks(path, size, read))) {
    const startedAt = performance.now();
    const [first] = run;
    const last = run.at(-1);
    if (first === undefined || last === undefined) continue;
    const bytes = await read(first.offset, last.offset + last.size + TRAILER_BYTES - first.offset);
    for (const block of run) checkBlock(path, bytes, block.offset - first.offset, block.size);
    await pause?.(performance.now() - startedAt, bytes.length);
  }
}

/**
 * Returns all blocks of the table, in the order of their offsets. The keys are included only on request, because few
 * callers need them.
 */
export async function findBlocks(path: string, size: number, read: Read, withKeys = false): Promise<Block[]> {
  if (size < FOOTER_BYTES) throw damagedTable(path, "it is too short");
  const roots = findRoots(path, await read(size - FOOTER_BYTES, FOOTER_BYTES), size);
  const blocks: Block[] = [];
  for (const [at, root] of roots.entries()) {
    const bytes = await read(root.offset, root.size + TRAILER_BYTES);
    // A filter has no rows.
    forEachBlock({ path, size }, bytes, withKeys && at === INDEX_ROOT, (offset, length, upTo) => {
      blocks.push({ offset, size: length, upTo });
    });
  }
  return blocks.toSorted((a, b) => a.offset - b.offset);
}

/** Returns the blocks that the footer of a table names: the index of the filters, and the index of the rows. */
export function findRoots(
  path: string,
  footer: Buffer,
  size: number,
): readonly [filters: Handle, rows: Handle] {
  if (footer.length < FOOTER_BYTES) throw damagedTable(path, "it is too short");
  if (footer.readUInt32LE(40) !== MAGIC[0] || footer.readUInt32LE(44) !== MAGIC[1]) {
    throw damagedTable(path, "it has no valid footer");
  }
  const reader = new VarintReader(footer, () => damagedTable(path, UNREADABLE));
  const roots = [blockHandle(reader), blockHandle(reader)] as const;
  if (roots.some((root) => root.offset + root.size + TRAILER_BYTES > size))
    throw damagedTable(path, TRUNCATED);
  return roots;
}

/**
 * Checks an index, and calls `found` with the offset and the size of each block that it names. A checksum does not show
 * who computed it, so a table may be forged: each block must be in the table, and all of them together must not be
 * larger than the table, which limits the work.
 */
function forEachBlock(
  table: { readonly path: string; readonly size: number },
  index: Buffer,
  withKeys: boolean,
  found: (offset: number, size: number, upTo: Uint8Array | undefined) => void,
): void {
  const { path } = table;
  const { content, end } = contentOf(path, index);
  let unnamed = table.size;
  const reader = new VarintReader(content, () => damagedTable(path, UNREADABLE));
  let key: Uint8Array = new Uint8Array(0);
  while (reader.position < end) {
    // An entry begins with three lengths: of the part of its key that is shared with the previous key, of the rest of
    // the key, and of the value. The rest of the key and the value follow.
    const shared = reader.number();
    const restBytes = reader.number();
    reader.number();
    if (withKeys) {
      const rest = reader.bytes(restBytes);
      key = shared === 0 ? rest : Buffer.concat([key.subarray(0, shared), rest]);
    } else reader.position += restBytes;
    const offset = reader.number();
    const length = reader.number();
    if (offset + length + TRAILER_BYTES > table.size) throw damagedTable(path, TRUNCATED);
    unnamed -= length + TRAILER_BYTES;
    if (unnamed < 0) throw damagedTable(path, UNREADABLE);
    found(offset, length, withKeys ? key : undefined);
  }
}

/** Checks a block with its trailer, and returns its content and the end of its entries. */
export function contentOf(path: string, block: Buffer): BlockContent {
  const size = block.length - TRAILER_BYTES;
  checkBlock(path, block, 0, size);
  // The content is copied, because keys are parts of it, and the next read overwrites these bytes.
  const stored = Uint8Array.prototype.slice.call(block, 0, size);
  const content = block[size] === COMPRESSED ? unsnappy(stored) : stored;
  if (content === undefined || content.length < 4) throw damagedTable(path, UNREADABLE);
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  // A block ends with the offsets of its restart points and their number, each of 4 bytes. Only binary searches use
  // them.
  const end = content.length - 4 - 4 * view.getUint32(content.length - 4, true);
  if (end < 0) throw damagedTable(path, UNREADABLE);
  return { content, end };
}

/** An uncompressed block, and the end of the rows in it. */
export interface BlockContent {
  readonly content: Uint8Array;
  readonly end: number;
}

/** A row of a table. Without a value, it was removed. Of several with one key, the first is the newest. */
export interface TableRow {
  readonly key: Uint8Array;
  readonly sequence: number;
  readonly value: Uint8Array | undefined;
}

/** Yields the rows of a block that is given with its trailer. Throws `INDEX_CORRUPT` if it is damaged. */
export function rowsInBlock(path: string, block: Buffer): Generator<TableRow, void, undefined> {
  return rowsInContent(path, contentOf(path, block));
}

/** Yields the rows of a block. Throws `INDEX_CORRUPT` if they cannot be read. */
export function* rowsInContent(
  path: string,
  { content, end }: BlockContent,
): Generator<TableRow, void, undefined> {
  const reader = new VarintReader(content, () => damagedTable(path, UNREADABLE));
  let key: Uint8Array = new Uint8Array(0);
  while (reader.position < end) {
    const shared = reader.number();
    const restBytes = reader.number();
    const valueBytes = reader.number();
    key = Buffer.concat([key.subarray(0, shared), reader.bytes(restBytes)]);
    const value = reader.bytes(valueBytes);
    if (key.length < KEY_SUFFIX_BYTES) throw damagedTable(path, UNREADABLE);
    const suffix = new DataView(key.buffer, key.byteOffset + key.length - KEY_SUFFIX_BYTES);
    yield {
      key: rowKeyOf(key),
      // The sequence number follows the type, which is in the low byte.
      sequence: Number(suffix.getBigUint64(0, true) >> 8n),
      value: suffix.getUint8(0) === 0 ? undefined : value,
    };
  }
}

/** A block's offset and size in bytes, without the trailer. */
export type Handle = Pick<Block, "offset" | "size">;

export function blockHandle(reader: VarintReader): Handle {
  const offset = reader.number();
  return { offset, size: reader.number() };
}

/** Groups adjacent blocks into reads of at most {@link READ_BYTES}. A larger block is read alone. */
function* runs(blocks: readonly Block[]): Generator<readonly Block[]> {
  let run: Block[] = [];
  let start = 0;
  let end = 0;
  for (const block of blocks) {
    const blockEnd = block.offset + block.size + TRAILER_BYTES;
    if (run.length > 0 && (block.offset !== end || blockEnd - start > READ_BYTES)) {
      yield run;
      run = [];
    }
    if (run.length === 0) start = block.offset;
    run.push(block);
    end = blockEnd;
  }
  if (run.length > 0) yield run;
}

/** Throws `INDEX_CORRUPT` if the block that begins at `start` of `bytes` does not match its checksum. */
export function checkBlock(path: string, bytes: Buffer, start: number, size: number): void {
  const stored = unmaskCrc(bytes.readUInt32LE(start + size + 1));
  if (crc32c(bytes, start, start + size + 1) !== stored)
    throw damagedTable(path, "a checksum does not match");
}

export function damagedTable(path: string, how: string): CairnError {
  return indexCorrupt(
    `The table ${path} is damaged: ${how}.`,
    undefined,
    "Check the disk. The node moves the index aside and rebuilds it.",
  );
}
