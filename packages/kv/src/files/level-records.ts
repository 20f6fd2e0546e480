import { crc32c, unmaskCrc } from "./crc32c.ts";
import { CairnError } from "../errors/errors.ts";

// LevelDB's log format (doc/log_format.md of LevelDB): blocks of 32 KiB, in them records of a 7-byte header
// (masked CRC-32C, length, type) and a payload; what does not fit into a block goes on in the next as fragments.
/** The size of all blocks but the last one of a file. */
export const LEVEL_BLOCK_SIZE = 32_768;
/** What stands before each record, and before each fragment of one. */
export const LEVEL_HEADER_SIZE = 7;
const HEADER_SIZE = LEVEL_HEADER_SIZE;
const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/**
 * Takes a LevelDB log or manifest apart, block by block. A record cut off by the end of the file is not an error: its
 * writer may be at it, or may have died. Anything else that is not as written is `INDEX_CORRUPT`.
 */
export class LevelRecordReader {
  #fragments: Uint8Array[] = [];
  #blockStart = 0;
  #end = 0;

  /** The offset after the last whole record so far: cut there, the file holds only whole records. */
  get end(): number {
    return this.#end;
  }

  /**
   * The records that end in the next block. All blocks but the last have {@link LEVEL_BLOCK_SIZE} bytes. A record may be a part of
   * `block`: it is good until that memory is used again.
   */
  *read(block: Uint8Array): Generator<Uint8Array, void, undefined> {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    let position = 0;
    // A rest too short for a header is padding before the next block, or the beginning of a header.
    while (block.length - position >= HEADER_SIZE) {
      const length = view.getUint16(position + 4, true);
      const type = view.getUint8(position + 6);
      const start = position + HEADER_SIZE;
      const end = start + length;
      const offset = this.#blockStart + position;
      if (end > block.length) {
        if (block.length < LEVEL_BLOCK_SIZE) return;
        throw corrupt(offset, "a length that does not fit into its block");
      }
      if (unmaskCrc(view.getUint32(position, true)) !== crc32c(block, position + 6, end)) {
        throw corrupt(offset, "a wrong checksum");
      }
      position = end;
      const record = this.#join(type, block.subarray(start, end), offset);
      if (record === undefined) continue;
      this.#end = this.#blockStart + end;
      yield record;
    }
    this.#blockStart += block.length;
  }

  #join(type: number, payload: Uint8Array, offset: number): Uint8Array | undefined {
    const begins = type === FULL || type === FIRST;
    if (!begins && type !== MIDDLE && type !== LAST) throw corrupt(offset, `the unknown type ${type}`);
    // Old writers left an empty first fragment at the end of a block, which LevelDB passes over too.
    if (begins && this.#fragments.every((part) => part.length === 0)) this.#fragments = [];
    if (begins === this.#fragments.length > 0) {
      throw corrupt(offset, "a fragment that does not follow the one before");
    }
    if (type === FULL) return payload;
    // Copied, since whoever reads the file may use the block's buffer again.
    this.#fragments.push(Uint8Array.from(payload));
    if (type !== LAST) return undefined;
    const record = Buffer.concat(this.#fragments);
    this.#fragments = [];
    return record;
  }
}

/** Where the record begins that is written next to one that ends at `end`: a header is never cut, what is left of a block stays empty. */
export function recordBegin(end: number): number {
  const room = LEVEL_BLOCK_SIZE - (end % LEVEL_BLOCK_SIZE);
  return room < HEADER_SIZE ? end + room : end;
}

/** Where a record of so many bytes ends that is written next to one that ends at `start`. */
export function recordEnd(start: number, bytes: number): number {
  let at = start;
  let left = bytes;
  do {
    at = recordBegin(at);
    const part = Math.min(left, LEVEL_BLOCK_SIZE - (at % LEVEL_BLOCK_SIZE) - HEADER_SIZE);
    at += HEADER_SIZE + part;
    left -= part;
  } while (left > 0);
  return at;
}

function corrupt(position: number, what: string): CairnError {
  return new CairnError("INDEX_CORRUPT", `A LevelDB record at offset ${position} has ${what}.`, {
    hint: "Restore the index from a checkpoint.",
  });
}
