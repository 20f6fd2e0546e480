import { crc32c } from "./crc32c.ts";
import { CairnError } from "./errors.ts";

// LevelDB's log format (doc/log_format.md of LevelDB): blocks of 32 KiB, in them records of a 7-byte header
// (masked CRC-32C, length, type) and a payload; what does not fit into a block goes on in the next as fragments.
const BLOCK_SIZE = 32_768;
const HEADER_SIZE = 7;
const CRC_MASK_DELTA = 0xa282ead8;
const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/** One whole record, and the offset at which it ends: cut there, the file holds only whole records. */
export interface LevelRecord {
  readonly payload: Uint8Array;
  readonly end: number;
}

/**
 * The whole records of a LevelDB log or manifest, in order. A record cut off by the end of the file is not an error:
 * its writer may be at it, or may have died. Anything else that is not as written is `INDEX_CORRUPT`.
 */
export function* levelRecords(file: Uint8Array): Generator<LevelRecord, void, undefined> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let fragments: Uint8Array[] = [];
  let position = 0;
  while (position < file.length) {
    const blockEnd = Math.min(position - (position % BLOCK_SIZE) + BLOCK_SIZE, file.length);
    // A rest too short for a header is padding before the next block, or the beginning of a header.
    if (blockEnd - position < HEADER_SIZE) {
      position = blockEnd;
      continue;
    }
    const length = view.getUint16(position + 4, true);
    const type = view.getUint8(position + 6);
    const start = position + HEADER_SIZE;
    const end = start + length;
    if (end > blockEnd) {
      if (blockEnd % BLOCK_SIZE !== 0) return;
      throw corrupt(position, "a length that does not fit into its block");
    }
    if (unmask(view.getUint32(position, true)) !== crc32c(file, position + 6, end)) {
      throw corrupt(position, "a wrong checksum");
    }
    const payload = file.subarray(start, end);
    const begins = type === FULL || type === FIRST;
    if (!begins && type !== MIDDLE && type !== LAST) throw corrupt(position, `the unknown type ${type}`);
    // Old writers left an empty first fragment at the end of a block, which LevelDB passes over too.
    const open = fragments.length > 0 && !(begins && fragments.every((part) => part.length === 0));
    if (begins === open) throw corrupt(position, "a fragment that does not follow the one before");
    if (begins) fragments = [];
    position = end;
    if (type === FULL) {
      yield { payload, end };
      continue;
    }
    fragments.push(payload);
    if (type === LAST) {
      yield { payload: Buffer.concat(fragments), end };
      fragments = [];
    }
  }
}

// Stored checksums are rotated and shifted, so that a checksum over data with checksums in it stays useful.
function unmask(stored: number): number {
  const rotated = (stored - CRC_MASK_DELTA) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

function corrupt(position: number, what: string): CairnError {
  return new CairnError("INDEX_CORRUPT", `A LevelDB record at offset ${position} has ${what}.`, {
    hint: "Restore the index from a checkpoint.",
  });
}
