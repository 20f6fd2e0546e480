import type { KvReader } from "@cairn/kv";
import type { Json, Revision } from "@cairn/client";
import { damagedRow, VERSION_SUM_BYTES, versionChecksum, versionTextChecksum } from "./row-checksum.ts";
import { asKind, ROW, versionRevision, asBuffer } from "./row-keys.ts";
import { textOf } from "./row-values.ts";

/**
 * Document, tombstone and version rows have the same value, so that a superseded version moves unchanged to its own
 * row: a checksum over the stem and the rest of the value (5 bytes), flags (1), revision (8), transaction time (8, ms
 * since 1970), then the document's JSON. Numbers use 7 bits of each byte, so that the whole value is UTF-8. Reading it
 * as a string costs a third less than decoding bytes.
 */

declare const CHECKED: unique symbol;
declare const HEAD: unique symbol;

/** A value that was encoded here or passed its checksum. Only such values are decoded, so that damage is never used. */
export type VersionValue = Buffer & { readonly [CHECKED]: true };
/** The checked value of a version whose document was not read. */
export type VersionHead = Buffer & { readonly [HEAD]: true };

const FLAGS_AT = VERSION_SUM_BYTES;
const REVISION_AT = FLAGS_AT + 1;
const TIME_AT = REVISION_AT + 8;
/** The number of bytes before the document in a version's value. */
export const VERSION_HEAD = TIME_AT + 8;
const DELETED = 1;
/** In the value of a row: the document is in a row of its own. */
const SEPARATED = 2;
/** Smaller documents stay in the rows of their versions. */
const MIN_SEPARATED_BYTES = 100;
/** A head is a version's value whose document is replaced by the document's length and the version's checksum. */
const HEAD_SUM_AT = VERSION_HEAD + 8;
const HEAD_BYTES = HEAD_SUM_AT + VERSION_SUM_BYTES;

/** Encodes the value of a version. `document` is its JSON in UTF-8; undefined for a deletion. */
export function encodeVersion(
  rowKey: Uint8Array,
  revision: Revision,
  time: number,
  document: Uint8Array | undefined,
): VersionValue {
  const value = Buffer.allocUnsafe(VERSION_HEAD + (document?.length ?? 0));
  value[FLAGS_AT] = document === undefined ? DELETED : 0;
  writeTextNumber(value, REVISION_AT, revision);
  writeTextNumber(value, TIME_AT, time);
  if (document !== undefined) value.set(document, VERSION_HEAD);
  writeSum(value, versionChecksum(rowKey, value));
  return value as VersionValue;
}

function writeSum(value: Buffer, checksum: number): void {
  let sum = checksum;
  for (let at = VERSION_SUM_BYTES - 1; at >= 0; at--) {
    value[at] = sum & 0x7f;
    sum >>>= 7;
  }
}

/** Throws `INDEX_CORRUPT` if value or key is not the one that was written. Returns undefined if there is no row. */
export function checkedVersion<V extends Uint8Array | undefined>(
  rowKey: Uint8Array,
  value: V,
): VersionValue | Extract<V, undefined> {
  if (value === undefined) return value as Extract<V, undefined>;
  if (!isVersionOf(rowKey, value)) throw damagedRow(rowKey);
  return asBuffer(value) as VersionValue;
}

export function isVersionOf(rowKey: Uint8Array, value: Uint8Array): boolean {
  if (value.length < VERSION_HEAD || (value[FLAGS_AT] ?? 0) > DELETED) return false;
  if (storedSum(value) !== versionChecksum(rowKey, value)) return false;
  // The checksum covers neither the kind of the row nor the revision in a version row's key.
  const kind = rowKey[0];
  if (kind === ROW.version) return readTextNumber(value, REVISION_AT) === versionRevision(rowKey);
  return (kind === ROW.tombstone) === (value[FLAGS_AT] === DELETED);
}

/** Like {@link checkedVersion}, for a value whose document may be in a row of its own. */
export function checkedHead<V extends Uint8Array | undefined>(
  rowKey: Uint8Array,
  value: V,
): VersionValue | VersionHead | Extract<V, undefined> {
  const revision = value && headRevision(value);
  if (value === undefined || revision === undefined) return checkedVersion(rowKey, value);
  const isInPlace = rowKey[0] === ROW.document || revision === versionRevision(rowKey);
  if (!isInPlace || storedSum(value) !== versionChecksum(rowKey, value)) throw damagedRow(rowKey);
  return asBuffer(value) as VersionHead;
}

export function withDocument(version: VersionValue | VersionHead): VersionValue {
  if (headRevision(version) !== undefined) throw new Error("The document of a version was not read.");
  return version as VersionValue;
}

/** Reads a key's newest version: its document or, if the key was deleted, the deletion. */
export async function readNewest(reader: KvReader, rowKey: Uint8Array): Promise<VersionValue | undefined> {
  const tombstoneKey = asKind(rowKey, ROW.tombstone);
  const [document, tombstone] = await reader.getMany([rowKey, tombstoneKey]);
  return checkedVersion(rowKey, document) ?? checkedVersion(tombstoneKey, tombstone);
}

/** Like {@link readNewest}, but for many keys, and perhaps without the documents. */
export async function readAllNewest(
  reader: KvReader,
  rowKeys: readonly Uint8Array[],
): Promise<(VersionValue | VersionHead | undefined)[]> {
  const found = (await reader.getMany(rowKeys)).map((value, at) =>
    checkedHead(rowKeys[at] as Uint8Array, value),
  );
  // Tombstones are read only for keys without a document.
  const absent = rowKeys.flatMap((_, at) => (found[at] === undefined ? [at] : []));
  const tombstones = absent.map((at) => asKind(rowKeys[at] as Uint8Array, ROW.tombstone));
  for (const [n, value] of (await reader.getMany(tombstones)).entries())
    found[absent[n] as number] = checkedVersion(tombstones[n] as Uint8Array, value);
  return found;
}

export function hasContentRow(value: Uint8Array): boolean {
  return value.length - VERSION_HEAD >= MIN_SEPARATED_BYTES || headRevision(value) !== undefined;
}

/** Returns the head of a version whose document has a row of its own; undefined if the document is too small. */
export function headOf(rowKey: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  if (value.length - VERSION_HEAD < MIN_SEPARATED_BYTES) return undefined;
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.set(value.subarray(0, VERSION_HEAD));
  head[FLAGS_AT] = SEPARATED;
  writeTextNumber(head, VERSION_HEAD, value.length - VERSION_HEAD);
  head.set(value.subarray(0, VERSION_SUM_BYTES), HEAD_SUM_AT);
  writeSum(head, versionChecksum(rowKey, head));
  return head;
}

export function headRevision(value: Uint8Array): Revision | undefined {
  const isHead = value.length === HEAD_BYTES && value[FLAGS_AT] === SEPARATED;
  return isHead ? readTextNumber(value, REVISION_AT) : undefined;
}

/** Returns the number of bytes that a value takes with its document. */
export function headLength(value: Uint8Array): number {
  if (headRevision(value) === undefined) return value.length;
  return VERSION_HEAD + readTextNumber(value, VERSION_HEAD);
}

/** Returns the value of a version, whose checksum shows whether both are those that were written. */
export function joined(head: Uint8Array, document: Uint8Array): Uint8Array {
  const value = Buffer.allocUnsafe(VERSION_HEAD + document.length);
  value.set(head.subarray(HEAD_SUM_AT));
  value[FLAGS_AT] = 0;
  value.set(head.subarray(REVISION_AT, VERSION_HEAD), REVISION_AT);
  value.set(document, VERSION_HEAD);
  return value;
}

/** Like {@link headRevision}, for a value that was read as a string. */
export function textHeadRevision(value: string): Revision | undefined {
  if (value.length !== HEAD_BYTES || value.charCodeAt(FLAGS_AT) !== SEPARATED) return undefined;
  return textNumber(value, REVISION_AT);
}

/** Like {@link joined}, for values that were read as strings. */
export function joinedText(head: string, document: string): string {
  return `${head.slice(HEAD_SUM_AT)}\0${head.slice(REVISION_AT, VERSION_HEAD)}${document}`;
}

/** Returns what digests and chains hash of a version, whatever its rows are like: flags, revision, time and document. */
export function versionContent(value: VersionValue): Uint8Array {
  return value.subarray(VERSION_SUM_BYTES);
}

export function versionValueRevision(value: Uint8Array): Revision {
  return readTextNumber(value, REVISION_AT);
}

/** Returns the time of the transaction that wrote a version (ms since 1970). */
export function versionValueTime(value: Uint8Array): number {
  return readTextNumber(value, TIME_AT);
}

export function versionValueJson(value: VersionValue): Json | undefined {
  if (value[FLAGS_AT] === DELETED) return undefined;
  return JSON.parse(textOf(value, VERSION_HEAD)) as Json;
}

/** Returns the document's JSON in UTF-8; empty for a deletion. */
export function versionValueDocument(value: Uint8Array): Uint8Array {
  return value.subarray(VERSION_HEAD);
}

/** Decodes a version's value. `json` is undefined for a deletion. */
export function decodeVersion(value: VersionValue): { revision: Revision; time: number; json?: string } {
  const revision = versionValueRevision(value);
  const time = versionValueTime(value);
  return value[FLAGS_AT] === DELETED
    ? { revision, time }
    : { revision, time, json: textOf(value, VERSION_HEAD) };
}

/** Checks and decodes a document row's value that was read as a string. Throws as {@link checkedVersion} does. */
export function decodeVersionText(
  documentRowKey: Uint8Array,
  value: string,
): { revision: Revision; json: string } {
  const isWhole =
    value.length >= VERSION_HEAD && storedTextSum(value) === versionTextChecksum(documentRowKey, value);
  if (!isWhole || value.charCodeAt(FLAGS_AT) !== 0) throw damagedRow(documentRowKey);
  // The checksum was valid, so the head is ASCII.
  return { revision: textNumber(value, REVISION_AT), json: value.slice(VERSION_HEAD) };
}

function textNumber(value: string, at: number): number {
  let high = 0;
  let low = 0;
  for (let place = at; place < at + 4; place++) high = (high << 7) | value.charCodeAt(place);
  for (let place = at + 4; place < at + 8; place++) low = (low << 7) | value.charCodeAt(place);
  return high * 2 ** 28 + low;
}

/** Returns the checksum in a value; -1, which never matches, if one of its bytes is not ASCII. */
export function storedSum(value: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = [value[0], value[1], value[2], value[3], value[4]];
  return (a | b | c | d | e) > 0x7f ? -1 : a * 2 ** 28 + ((b << 21) | (c << 14) | (d << 7) | e);
}

/** Like {@link storedSum}, but for a value that was read as a string. */
function storedTextSum(value: string): number {
  let bits = 0;
  let low = 0;
  for (let at = 0; at < VERSION_SUM_BYTES; at++) {
    const code = value.charCodeAt(at);
    bits |= code;
    low = (low << 7) | code;
  }
  return bits > 0x7f ? -1 : value.charCodeAt(0) * 2 ** 28 + (low & 0x0fffffff);
}

/** Writes a whole number below 2^56 in 8 bytes of 7 bits each, highest first, so that every byte is ASCII. */
function writeTextNumber(target: Buffer, at: number, value: number): void {
  let high = Math.floor(value / 2 ** 28);
  let low = value % 2 ** 28;
  for (let place = 3; place >= 0; place--) {
    target[at + place] = high & 0x7f;
    target[at + 4 + place] = low & 0x7f;
    high >>>= 7;
    low >>>= 7;
  }
}

function readTextNumber(source: Uint8Array, at: number): number {
  let high = 0;
  let low = 0;
  for (let place = at; place < at + 4; place++) high = (high << 7) | (source[place] ?? 0);
  for (let place = at + 4; place < at + 8; place++) low = (low << 7) | (source[place] ?? 0);
  return high * 2 ** 28 + low;
}
