import { crc32c, maskCrc, unmaskCrc } from "./crc32c.ts";
import { type CairnError, indexCorrupt } from "../errors/errors.ts";

// LevelDB's log format (its doc/log_format.md) consists of blocks of 32 KiB. A block contains records, each with
// a 7-byte header (masked CRC-32C, length, type) and a payload. A payload that does not fit into a block is split into
// fragments, which continue in the next block.
/** The size of every block except the last one of a file. */
export const BLOCK_BYTES = 32_768;
/** The size of the header before each record, and before each fragment of one. */
export const HEADER_BYTES = 7;
/** The types of a complete record, and of the first fragment of a record. */
export const FULL = 1;
export const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/**
 * Reads the records of a LevelDB log or manifest, block by block. A record cut off by the end of the file is not an
 * error, because it may still be being written, or its writer may have died. For any other damage, throws
 * `INDEX_CORRUPT`.
 */
export class LevelRecordReader {
  #fragments: Uint8Array[] = [];
  #blockStart = 0;
  /** The offset after the last complete record: truncated there, the file has only complete records. */
  end = 0;

  /**
   * Yields the records that end in the next block. All blocks except the last have {@link BLOCK_BYTES} bytes. A record
   * may be a part of `block`, in which case it is valid until that memory is reused.
   */
  *read(block: Uint8Array): Generator<Uint8Array, void, undefined> {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    let position = 0;
    // A remainder too short for a header is padding before the next block, or the beginning of a header.
    while (block.length - position >= HEADER_BYTES) {
      const length = view.getUint16(position + 4, true);
      const type = view.getUint8(position + 6);
      const start = position + HEADER_BYTES;
      const end = start + length;
      const offset = this.#blockStart + position;
      if (end > block.length) {
        if (block.length < BLOCK_BYTES) return;
        throw corrupt(offset, "a length that does not fit into its block");
      }
      if (unmaskCrc(view.getUint32(position, true)) !== crc32c(block, position + 6, end)) {
        throw corrupt(offset, "a wrong checksum");
      }
      position = end;
      const record = this.#join(type, block.subarray(start, end), offset);
      if (record === undefined) continue;
      this.end = this.#blockStart + end;
      yield record;
    }
    this.#blockStart += block.length;
  }

  #join(type: number, payload: Uint8Array, offset: number): Uint8Array | undefined {
    const begins = type === FULL || type === FIRST;
    if (!begins && type !== MIDDLE && type !== LAST) throw corrupt(offset, `the unknown type ${type}`);
    // Old versions left an empty first fragment at the end of a block. LevelDB also ignores it.
    if (begins && this.#fragments.every((part) => part.length === 0)) this.#fragments = [];
    if (begins === this.#fragments.length > 0) {
      throw corrupt(offset, "a fragment that does not follow the one before");
    }
    if (type === FULL) return payload;
    // The record is copied, because the caller may reuse the block's buffer.
    this.#fragments.push(Uint8Array.from(payload));
    if (type !== LAST) return undefined;
    const record = Buffer.concat(this.#fragments);
    this.#fragments = [];
    return record;
  }
}

/** Reads the records from the one that begins at `from`. The reader counts its offsets from there. */
export function* recordsOf(
  bytes: Uint8Array,
  reader: LevelRecordReader,
  from = 0,
): Generator<Uint8Array, void, undefined> {
  for (let start = from; start < bytes.length;) {
    const end = start - (start % BLOCK_BYTES) + BLOCK_BYTES;
    yield* reader.read(bytes.subarray(start, end));
    start = end;
  }
}

/** Returns a file with one record. */
export function fileOfRecord(payload: Uint8Array): Buffer {
  const blocks: Buffer[] = [];
  const room = BLOCK_BYTES - HEADER_BYTES;
  for (let start = 0; start === 0 || start < payload.length; start += room) {
    const isLast = start + room >= payload.length;
    const block = Buffer.concat([Buffer.alloc(HEADER_BYTES), payload.subarray(start, start + room)]);
    block.writeUInt16LE(block.length - HEADER_BYTES, 4);
    block.writeUInt8(start === 0 ? (isLast ? FULL : FIRST) : isLast ? LAST : MIDDLE, 6);
    block.writeUInt32LE(maskCrc(crc32c(block, 6, block.length)), 0);
    blocks.push(block);
  }
  return Buffer.concat(blocks);
}

/** A header is never split, so the end of a block may remain empty. */
export function recordBegin(end: number): number {
  const room = BLOCK_BYTES - (end % BLOCK_BYTES);
  return room < HEADER_BYTES ? end + room : end;
}

/** Returns the end of a record with a payload of `bytes` that follows a record ending at `start`. */
export function recordEnd(start: number, bytes: number): number {
  let at = start;
  let left = bytes;
  do {
    at = recordBegin(at);
    const part = Math.min(left, BLOCK_BYTES - (at % BLOCK_BYTES) - HEADER_BYTES);
    at += HEADER_BYTES + part;
    left -= part;
  } while (left > 0);
  return at;
}

function corrupt(position: number, what: string): CairnError {
  return indexCorrupt(`A LevelDB record at offset ${position} has ${what}.`);
}
