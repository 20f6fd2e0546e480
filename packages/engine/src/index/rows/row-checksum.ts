import { CairnError, crc32cOf } from "@cairn/kv";
import { ROW, ID_BYTES } from "./row-keys.ts";
import { rowName } from "./row-names.ts";

/**
 * LevelDB does not compare its blocks with their checksums when it reads, and a compaction gives a damaged block a
 * valid checksum. Each row therefore has a CRC-32C over its value and its key, which also detects a value under the
 * wrong key.
 *
 * The key and the value are copied into one buffer and summed in one call, which costs less than a separate call for
 * each.
 */

/** The number of bytes of the checksum before a version's value: 32 bits, 7 in each byte. */
export const VERSION_SUM_BYTES = 5;
/** The number of bytes of the checksum before any other row's value. */
export const SUM_BYTES = 4;

/** The maximum size of a row that is copied to be summed; larger rows are summed without a copy. */
const SCRATCH_BYTES = 64 * 1024;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
/** A version's value is copied first, so that the end of the key overwrites the value's own checksum. */
const KEY_AT = 8;
/** Views are cached by length, because creating one costs a seventh of the time of a checksum. */
const VIEWS: Buffer[] = [];
const VIEWS_WITHOUT_KIND: Buffer[] = [];
const MAX_KEPT_VIEWS = 2 * 1024;
/** The maximum number of UTF-8 bytes per UTF-16 unit of a string. */
const MAX_BYTES_PER_UNIT = 3;

/** Returns the expected checksum of a version's value in a document, tombstone or version row with this key. */
export function versionChecksum(rowKey: Uint8Array, value: Uint8Array): number {
  // The key of a version ends with its revision.
  const key = rowKey[0] === ROW.version ? rowKey.subarray(0, rowKey.length - ID_BYTES) : rowKey;
  const at = KEY_AT + key.length - VERSION_SUM_BYTES;
  if (at + value.length > SCRATCH_BYTES) return sumOfLarge(key, value);
  scratch.set(value, at);
  scratch.set(key, KEY_AT);
  return sumOfScratch(at + value.length);
}

/** A value that was read as a string is intact if its UTF-8 form has the right checksum. */
export function versionTextChecksum(documentRowKey: Uint8Array, value: string): number {
  const at = KEY_AT + documentRowKey.length - VERSION_SUM_BYTES;
  if (at + value.length * MAX_BYTES_PER_UNIT > SCRATCH_BYTES)
    return sumOfLarge(documentRowKey, Buffer.from(value, "utf8"));
  const length = scratch.write(value, at, "utf8");
  scratch.set(documentRowKey, KEY_AT);
  return sumOfScratch(at + length);
}

/** The kind is excluded, because a version moves unchanged to a row of another kind. */
function sumOfScratch(end: number): number {
  return sumOf(VIEWS_WITHOUT_KIND, KEY_AT + 1, end);
}

function sumOf(views: Buffer[], begin: number, end: number): number {
  const length = end - begin;
  if (length >= MAX_KEPT_VIEWS) return crc32cOf(scratch.subarray(begin, end));
  return crc32cOf((views[length] ??= scratch.subarray(begin, end)));
}

function sumOfLarge(key: Uint8Array, value: Uint8Array): number {
  return crc32cOf(value.subarray(VERSION_SUM_BYTES), crc32cOf(key.subarray(1)));
}

/** Returns a row's value: a checksum over the whole key and `content`, then `content`. */
export function sealed(key: Uint8Array, content: Uint8Array = NO_BYTES): Buffer {
  const value = sealable(content.length);
  value.set(content, SUM_BYTES);
  return seal(key, value);
}

export const NO_BYTES = new Uint8Array(0);

/** The value is filled after its first {@link SUM_BYTES}, then sealed: content of several parts is copied only once. */
export function sealable(length: number): Buffer {
  return Buffer.allocUnsafe(SUM_BYTES + length);
}

/** Writes the checksum in front of the content of a value. */
export function seal(key: Uint8Array, value: Buffer): Buffer {
  value.writeUInt32BE(sealOf(key, value), 0);
  return value;
}

/** Throws `INDEX_CORRUPT` if the value or the key is not the one that was written. */
export function unsealed(key: Uint8Array, value: Uint8Array): Buffer {
  if (!isSealed(key, value)) throw damagedRow(key);
  return Buffer.from(value.buffer, value.byteOffset + SUM_BYTES, value.byteLength - SUM_BYTES);
}

/** Like {@link sealed}, for JSON. Equal content must have its members in the same order: nodes write equal rows. */
export function sealedJson(key: Uint8Array, content: unknown): Buffer {
  return sealed(key, Buffer.from(JSON.stringify(content), "utf8"));
}

/** Reads what {@link sealedJson} wrote. The checksum shows that it is intact, so its type is not checked. */
export function unsealedJson<T>(key: Uint8Array, value: Uint8Array): T {
  return JSON.parse(unsealed(key, value).toString("utf8")) as T;
}

export function rowChecksum(key: Uint8Array, content: Uint8Array): number {
  return crc32cOf(content, crc32cOf(key));
}

export function isSealed(key: Uint8Array, value: Uint8Array): boolean {
  if (value.length < SUM_BYTES) return false;
  const [a = 0, b = 0, c = 0, d = 0] = value;
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0 === sealOf(key, value);
}

function sealOf(key: Uint8Array, value: Uint8Array): number {
  const at = KEY_AT + key.length - SUM_BYTES;
  if (at + value.length > SCRATCH_BYTES) return rowChecksum(key, value.subarray(SUM_BYTES));
  scratch.set(value, at);
  scratch.set(key, KEY_AT);
  return sumOf(VIEWS, KEY_AT, at + value.length);
}

/** Returns `INDEX_CORRUPT`: a row's key or value is not the one that was written. */
export function damagedRow(key: Uint8Array): CairnError {
  return unusableIndex(`the row ${rowName(key)} does not match its checksum`);
}

/** Returns `INDEX_CORRUPT`: the index cannot be used. `why` is the reason in words. */
export function unusableIndex(why: string, cause?: unknown): CairnError {
  return new CairnError("INDEX_CORRUPT", `The index is not usable: ${why}.`, {
    hint: "Start the node, or let it run: it moves the index to quarantine and builds a new one from a checkpoint or from the log.",
    cause,
  });
}
