import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/** The length of a document in characters, without its quotes. */
const DOCUMENT_LENGTH = 300;
/** The bucket of all records. */
export const BUCKET = "records";

const KEY_PREFIX = "record-";
const KEY_LENGTH = 24;
const POOL_LENGTH = 1 << 20;
// The stride is odd and larger than a document, so that neighbours have nothing in common that could be compressed.
const STRIDE = 7_919;

/** The records of a run: 24-byte keys in ascending order, and JSON strings of 300 random characters. */
export class Records {
  readonly count: number;
  readonly #pool = randomBytes(POOL_LENGTH).toString("base64").slice(0, POOL_LENGTH);

  constructor(count: number) {
    this.count = count;
  }

  /** Returns a record's document as JSON. */
  document(index: number): string {
    const at = (index * STRIDE) % (POOL_LENGTH - DOCUMENT_LENGTH);
    return `"${this.#pool.slice(at, at + DOCUMENT_LENGTH)}"`;
  }

  /** Returns the log message that puts a record (docs/internals/log-format.md). */
  message(index: number, logTag: string): Buffer {
    const random = index.toString(16).padStart(16, "0");
    const body = `{"ops":[["put","${BUCKET}","${recordKey(index)}"]]}\n${this.document(index)}`;
    const checked = `${logTag} ${random}\n${body}`;
    return Buffer.from(`cairn/1 ${crc32(checked).toString(16).padStart(8, "0")} ${checked}`, "utf8");
  }
}

/**
 * A number that shares no factor with usual counts, so that its multiples visit every record before they repeat any.
 */
const SCATTER = 514_229;

/** Returns the index of the `n`-th of `count` records in scattered order. */
export function scattered(n: number, count: number): number {
  return (n * SCATTER) % count;
}

/** Returns a record's key of 24 bytes. */
export function recordKey(index: number): string {
  return KEY_PREFIX + String(index).padStart(KEY_LENGTH - KEY_PREFIX.length, "0");
}
