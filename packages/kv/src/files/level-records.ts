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

export interface LevelRecord {
  /** It may be a part of the bytes of the file. */
  readonly payload: Uint8Array;
  /** The offset after the record: truncated there, the file has only complete records. */
  readonly end: number;
}

export interface LevelRecords {
  readonly records: readonly LevelRecord[];
  /** The end of the last one. */
  readonly end: number;
  /** The damage after them (`INDEX_CORRUPT`); undefined if there is none, or if the end of the file cuts off a record. */
  readonly problem: CairnError | undefined;
}

/**
 * Returns the records of a LevelDB log or manifest from the one that begins at `from`. One cut off by the end of the
 * file may still be being written, or its writer may have died.
 */
export function recordsOf(bytes: Uint8Array, from = 0): LevelRecords {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: LevelRecord[] = [];
  const read = (problem?: CairnError): LevelRecords => ({
    records,
    end: records.at(-1)?.end ?? from,
    problem,
  });
  let fragments: Uint8Array[] = [];
  let end = from;
  for (let at = recordBegin(from); at + HEADER_BYTES <= bytes.length; at = recordBegin(end)) {
    const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES;
    const type = view.getUint8(at + 6);
    end = at + HEADER_BYTES + view.getUint16(at + 4, true);
    if (end > Math.min(blockEnd, bytes.length)) {
      if (bytes.length < blockEnd) break;
      return read(corrupt(at, "a length that does not fit into its block"));
    }
    if (unmaskCrc(view.getUint32(at, true)) !== crc32c(bytes, at + 6, end))
      return read(corrupt(at, "a wrong checksum"));
    const begins = type === FULL || type === FIRST;
    if (!begins && type !== MIDDLE && type !== LAST) return read(corrupt(at, `the unknown type ${type}`));
    // Old versions left an empty first fragment at the end of a block. LevelDB also ignores it.
    if (begins && fragments.every((part) => part.length === 0)) fragments = [];
    if (begins === fragments.length > 0)
      return read(corrupt(at, "a fragment that does not follow the one before"));
    const payload = bytes.subarray(at + HEADER_BYTES, end);
    if (type === FULL) records.push({ payload, end });
    else fragments.push(payload);
    if (type !== LAST) continue;
    records.push({ payload: Buffer.concat(fragments), end });
    fragments = [];
  }
  return read();
}

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
