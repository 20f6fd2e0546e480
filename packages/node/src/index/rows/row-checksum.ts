import { type CairnError, crc32cOf } from "@cairn/kv";
import { ROW, ID_BYTES } from "./row-keys.ts";
import { rowName } from "./row-names.ts";
import { unusableIndex } from "./unusable-index.ts";

/*
 * LevelDB does not compare its blocks with their checksums when it reads, and a compaction checks a damaged block's sum anew. So rows
 * carry a CRC-32C of their own, over what they say and whose they are: a value under a key that is not its own is found as well.
 *
 * What is summed is put together in one buffer, and summed in one call: that costs less than a call for each part.
 */

/** Bytes of the checksum before a version's value: 32 bits, 7 in each. */
export const VERSION_SUM_BYTES = 5;
/** Bytes of the checksum before what any other row says. */
export const SUM_BYTES = 4;

/** Larger ones are summed where they lie. */
const SCRATCH_BYTES = 64 * 1024;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
/** Where a key is put: behind it a version's value without its checksum, which the end of the key overwrites. */
const KEY_AT = 8;
/** Views of it by their length: making one costs a seventh of a checksum. */
const VIEWS: Buffer[] = [];
const VIEWS_WITHOUT_KIND: Buffer[] = [];
const MAX_KEPT_VIEWS = 2 * 1024;
/** Of UTF-8, for one unit of a string. */
const MAX_BYTES_PER_UNIT = 3;

/** The checksum that a version's value has to carry in a document, tombstone or version row with this key. */
export function versionChecksum(rowKey: Uint8Array, value: Uint8Array): number {
  const key = withoutRevision(rowKey);
  const at = KEY_AT + key.length - VERSION_SUM_BYTES;
  if (at + value.length > SCRATCH_BYTES) return sumOfLarge(key, value);
  scratch.set(value, at);
  scratch.set(key, KEY_AT);
  return sumOfScratch(at + value.length);
}

/** The same of a value that was read as text, which is the right one if its UTF-8 has the right sum. */
export function versionTextChecksum(documentRowKey: Uint8Array, value: string): number {
  const at = KEY_AT + documentRowKey.length - VERSION_SUM_BYTES;
  if (at + value.length * MAX_BYTES_PER_UNIT > SCRATCH_BYTES)
    return sumOfLarge(documentRowKey, Buffer.from(value, "utf8"));
  const length = scratch.write(value, at, "utf8");
  scratch.set(documentRowKey, KEY_AT);
  return sumOfScratch(at + length);
}

/** Without the kind: a version moves to another kind of row as it is. */
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

function withoutRevision(rowKey: Uint8Array): Uint8Array {
  return rowKey[0] === ROW.version ? rowKey.subarray(0, rowKey.length - ID_BYTES) : rowKey;
}

/** A row's value: a checksum over the whole key and `content`, then `content`. */
export function sealed(key: Uint8Array, content: Uint8Array = EMPTY): Buffer {
  const value = sealable(content.length);
  value.set(content, SUM_BYTES);
  return seal(key, value);
}

const EMPTY = new Uint8Array(0);

/** A value to be filled from {@link SUM_BYTES} on and then sealed: what has several parts is not copied twice. */
export function sealable(length: number): Buffer {
  return Buffer.allocUnsafe(SUM_BYTES + length);
}

/** Writes the checksum before the content of a value. */
export function seal(key: Uint8Array, value: Buffer): Buffer {
  value.writeUInt32BE(sealOf(key, value), 0);
  return value;
}

/** The content of a sealed value; `INDEX_CORRUPT` where that or the key is not what was written. */
export function unsealed(key: Uint8Array, value: Uint8Array): Buffer {
  if (!isSealed(key, value)) throw damagedRow(key);
  return Buffer.from(value.buffer, value.byteOffset + SUM_BYTES, value.byteLength - SUM_BYTES);
}

/** The checksum over a row's key and what its value says. */
export function rowChecksum(key: Uint8Array, content: Uint8Array): number {
  return crc32cOf(content, crc32cOf(key));
}

/** Whether {@link unsealed} would take a value. */
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

/** `INDEX_CORRUPT`: a row's key or value is not what was written. */
export function damagedRow(key: Uint8Array): CairnError {
  return unusableIndex(`the row ${rowName(key)} is not what was written`);
}
