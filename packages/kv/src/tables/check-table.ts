import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { crc32c, unmaskCrc } from "../files/crc32c.ts";
import { CairnError } from "../errors/errors.ts";
import { unsnappy } from "../files/snappy.ts";

// LevelDB's table format (doc/table_format.md of LevelDB): blocks, each with a trailer of its compression and its checksum;
// the last bytes say where the index of the blocks is and where that of the filters.
// Two places of blocks, padded to 40 bytes, and a number of 8 bytes, here in two halves, that says what kind of file it is.
const FOOTER_BYTES = 48;
const MAGIC = [0x8b80fb57, 0xdb477524] as const;
// A byte for the compression (0: none, 1: Snappy), then four for the masked CRC-32C of the content and that byte.
const TRAILER_BYTES = 5;
const COMPRESSED = 1;
// The footer names the index of filters and the like first, then that of the rows.
const INDEX_ROOT = 1;
// Small enough that nobody waits for the checksums of one reading.
const READ_BYTES = 128 * 1024;

/** A block of a table. */
export interface Block {
  readonly offset: number;
  /** Without its trailer. */
  readonly size: number;
  /** No key in the block is above it (LevelDB's key: eight bytes follow that of the row). Undefined where it was not asked for, or for a filter. */
  readonly upTo: Uint8Array | undefined;
}

/** Reads `length` bytes of a table, or throws that it is cut short. What it answers is good until the next call. */
export type Read = (position: number, length: number) => Buffer | Promise<Buffer>;

/** Is told how long a piece took, in milliseconds, and its length. */
export type Rest = (busyMs: number, bytes: number) => Promise<void>;

/**
 * Compares every block of a table with its checksum: LevelDB, as it is built here, does not when it reads, so a flipped bit
 * would be served as if it had been written. Throws `INDEX_CORRUPT` at the first that differs. Memory: 128 KiB, or the table's
 * index (a hundredth of it) where that is more. `rest` is called after each piece, and waited for.
 */
export async function checkTable(path: string, rest?: Rest): Promise<void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const read = async (position: number, length: number): Promise<Buffer> => {
      const target = buffer.length >= length ? buffer : Buffer.allocUnsafe(length);
      const { bytesRead } = await file.read(target, 0, length, position);
      if (bytesRead < length) throw cutShort(path);
      return target.subarray(0, length);
    };
    await checkBlocks(path, size, read, rest);
  } finally {
    await file.close();
  }
}

/** The same without giving way to anything but `rest`: for a thread of its own, which then needs none of those that others share. */
export async function checkTableAtOnce(path: string, rest: Rest): Promise<void> {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const read = (position: number, length: number): Buffer => {
      const target = buffer.length >= length ? buffer : Buffer.allocUnsafe(length);
      if (readSync(file, target, 0, length, position) < length) throw cutShort(path);
      return target.subarray(0, length);
    };
    await checkBlocks(path, fstatSync(file).size, read, rest);
  } finally {
    closeSync(file);
  }
}

/** The same for a table whose content, `bytes`, is in memory already; `path` is only its name. */
export async function checkTableBytes(path: string, bytes: Buffer, rest?: Rest): Promise<void> {
  const read = (position: number, length: number): Buffer => {
    if (position + length > bytes.length) throw cutShort(path);
    return bytes.subarray(position, position + length);
  };
  await checkBlocks(path, bytes.length, read, rest);
}

async function checkBlocks(path: string, size: number, read: Read, rest?: Rest): Promise<void> {
  for (const run of runs(await findBlocks(path, size, read))) {
    const begun = performance.now();
    const [first] = run;
    const last = run.at(-1);
    if (first === undefined || last === undefined) continue;
    const bytes = await read(first.offset, last.offset + last.size + TRAILER_BYTES - first.offset);
    for (const block of run) checkBlock(path, bytes, block.offset - first.offset, block.size);
    await rest?.(performance.now() - begun, bytes.length);
  }
}

/** Every block that the table names, in the order of their places; with their keys only where they are asked for, since few do. */
export async function findBlocks(path: string, size: number, read: Read, withKeys = false): Promise<Block[]> {
  if (size < FOOTER_BYTES) throw damaged(path, "it is too short");
  const footer = await read(size - FOOTER_BYTES, FOOTER_BYTES);
  if (footer.readUInt32LE(40) !== MAGIC[0] || footer.readUInt32LE(44) !== MAGIC[1]) {
    throw damaged(path, "its end is not that of a table");
  }
  const reader = new Varints(footer, path);
  const roots = [reader.block(), reader.block()];
  const blocks: Block[] = [];
  for (const [at, root] of roots.entries()) {
    if (root.offset + root.size + TRAILER_BYTES > size) throw cutShort(path);
    const bytes = await read(root.offset, root.size + TRAILER_BYTES);
    checkBlock(path, bytes, 0, root.size);
    // A copy: keys are taken from it, and the next reading goes over these bytes.
    const content = Uint8Array.prototype.slice.call(bytes, 0, root.size);
    // A filter has no rows.
    const keys = withKeys && at === INDEX_ROOT;
    const plain = bytes[root.size] === COMPRESSED ? unsnappy(content) : content;
    for (const block of entries(plain, path, keys)) blocks.push(block);
  }
  return blocks.toSorted((a, b) => a.offset - b.offset);
}

/** The blocks that a block of keys and places names. */
function* entries(content: Uint8Array | undefined, path: string, withKeys: boolean): Generator<Block> {
  if (content === undefined || content.length < 4) throw damaged(path, "its index is not readable");
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  // A block ends with the offsets of its restart points and their number, 4 bytes each: they serve binary search alone.
  const restarts = view.getUint32(content.length - 4, true);
  const end = content.length - 4 - 4 * restarts;
  const reader = new Varints(content, path);
  while (reader.position < end) {
    const upTo = withKeys ? reader.key() : reader.skipKey();
    yield { offset: reader.next(), size: reader.next(), upTo };
  }
}

class Varints {
  position = 0;
  #key: Uint8Array = new Uint8Array(0);
  readonly #bytes: Uint8Array;
  readonly #path: string;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#path = path;
  }

  /** A varint: seven bits a byte, the lowest first. Multiplied, since a shift has 32 bits only. */
  next(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 53; factor *= 128) {
      const byte = this.#bytes[this.position++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw damaged(this.#path, "its index is not readable");
  }

  /** An entry begins with how much its key shares with the one before, the length of the rest, that of its value; then the rest. */
  key(): Uint8Array {
    const shared = this.next();
    const rest = this.next();
    this.next();
    const own = this.#bytes.subarray(this.position, this.position + rest);
    this.position += rest;
    this.#key = shared === 0 ? own : Buffer.concat([this.#key.subarray(0, shared), own]);
    return this.#key;
  }

  skipKey(): undefined {
    this.next();
    const rest = this.next();
    this.next();
    this.position += rest;
  }

  /** A place, as the footer and the index write it: two varints. */
  block(): Pick<Block, "offset" | "size"> {
    const offset = this.next();
    return { offset, size: this.next() };
  }
}

/** Neighbouring blocks that are read at once. A block larger than that is alone. */
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

/** Throws `INDEX_CORRUPT` when the block that begins at `start` of `bytes` differs from its checksum. */
export function checkBlock(path: string, bytes: Buffer, start: number, size: number): void {
  const stored = unmaskCrc(bytes.readUInt32LE(start + size + 1));
  if (crc32c(bytes, start, start + size + 1) !== stored) throw damaged(path, "a checksum does not match");
}

/** What whoever reads beyond the end of a table throws. */
export function cutShort(path: string): CairnError {
  return damaged(path, "it is cut short");
}

function damaged(path: string, how: string): CairnError {
  return new CairnError("INDEX_CORRUPT", `The table ${path} is damaged: ${how}.`, {
    hint: "The node moves the index aside and builds it anew. Look after the disk.",
  });
}
