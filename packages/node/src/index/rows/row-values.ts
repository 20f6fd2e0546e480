import { isAscii } from "node:buffer";
import { CairnError } from "@cairn/kv";
import type { Json, Revision, TxId } from "@cairn/client";

/*
 * A document, tombstone and version row have the same value, so that a superseded version moves to its own row as it is:
 * flags (1 byte), revision (8), transaction time (8, milliseconds since 1970), then the document's JSON. The two numbers have 7 bits
 * in each byte, so that all of it is UTF-8: read as text at once it costs a third less than as bytes that become text here.
 */

/** Bytes before the document in a version's value. */
export const VERSION_HEAD = 17;
const DELETED = 1;

/** A version's value. `document`: its JSON in UTF-8, or undefined for a deletion. */
export function encodeVersion(revision: Revision, time: number, document: Uint8Array | undefined): Buffer {
  const value = Buffer.allocUnsafe(VERSION_HEAD + (document?.length ?? 0));
  value[0] = document === undefined ? DELETED : 0;
  writeTextNumber(value, 1, revision);
  writeTextNumber(value, 9, time);
  if (document !== undefined) value.set(document, VERSION_HEAD);
  return value;
}

/** Whether a value is long enough to be a version's, and begins as one. */
export function isVersionValue(value: Uint8Array): boolean {
  if (value.length < VERSION_HEAD) return false;
  for (let at = 0; at < VERSION_HEAD; at++) if ((value[at] ?? 0) > 0x7f) return false;
  return true;
}

/** The same value, where it is one; `INDEX_CORRUPT` where it is none: a number read from half a value would be taken for a revision. */
function versionValue(value: Uint8Array): Uint8Array {
  if (!isVersionValue(value)) throw noVersion();
  return value;
}

function noVersion(): CairnError {
  return new CairnError(
    "INDEX_CORRUPT",
    "The index is not usable: a document's row is too short, or does not begin as one.",
    { hint: "The node moves it aside and builds it anew from a checkpoint or from the log." },
  );
}

/** The revision that a version's value says; `INDEX_CORRUPT` where it is none, as all that reads one. */
export function versionValueRevision(value: Uint8Array): Revision {
  return readTextNumber(versionValue(value), 1);
}

/** The time of the transaction that wrote a version, in milliseconds since 1970. */
export function versionValueTime(value: Uint8Array): number {
  return readTextNumber(versionValue(value), 9);
}

/** The document in a version's value; undefined for a deletion. */
export function versionValueJson(value: Uint8Array): Json | undefined {
  if (versionValue(value)[0] === DELETED) return undefined;
  return JSON.parse(textOf(view(value), VERSION_HEAD)) as Json;
}

/** A number alone, as a row's value. */
export function encodeNumber(number: number): Buffer {
  const value = Buffer.allocUnsafe(8);
  writeNumber(value, 0, number);
  return value;
}

/** The number that is a row's value. */
export function decodeNumber(value: Uint8Array): number {
  return readNumber(view(value), 0);
}

/** The document's JSON (UTF-8) in a version's value; nothing for a deletion. */
export function versionValueDocument(value: Uint8Array): Uint8Array {
  return value.subarray(VERSION_HEAD);
}

/** A version's value, read. `json` is undefined for a deletion. */
export function decodeVersion(value: Uint8Array): { revision: Revision; time: number; json?: string } {
  const revision = readTextNumber(versionValue(value), 1);
  const time = readTextNumber(value, 9);
  return value[0] === DELETED
    ? { revision, time }
    : { revision, time, json: textOf(view(value), VERSION_HEAD) };
}

/** The document of a version whose value was read as text, with its revision; undefined for a deletion. `INDEX_CORRUPT` where it is none. */
export function decodeVersionText(value: string): { revision: Revision; json: string } | undefined {
  let bits = 0;
  for (let at = 0; at < VERSION_HEAD; at++) bits |= value.charCodeAt(at);
  if (value.length < VERSION_HEAD || bits > 0x7f) throw noVersion();
  if (value.charCodeAt(0) === DELETED) return undefined;
  let high = 0;
  let low = 0;
  for (let at = 1; at < 5; at++) high = (high << 7) | value.charCodeAt(at);
  for (let at = 5; at < 9; at++) low = (low << 7) | value.charCodeAt(at);
  return { revision: high * 2 ** 28 + low, json: value.slice(VERSION_HEAD) };
}

/** UTF-8, which nearly always is ASCII: copying that takes a tenth of what decoding takes. */
function textOf(bytes: Buffer, start: number): string {
  return bytes.toString(isAscii(bytes.subarray(start)) ? "latin1" : "utf8", start);
}

/**
 * What became of a message. `duplicate`: its idempotency id and content were applied before, by the transaction whose id is the text.
 * The text of `committed` is its operations as in the log, of `aborted` the reason.
 */
export type OutcomeKind = "committed" | "aborted" | "duplicate";

/** Their places are what rows hold: another order is another index version. */
const OUTCOMES: readonly OutcomeKind[] = ["committed", "aborted", "duplicate"];

/** A transaction row's value: kind, time, text. */
export function encodeOutcome(time: number, kind: OutcomeKind, text: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(9 + text.length);
  value[0] = OUTCOMES.indexOf(kind);
  writeNumber(value, 1, time);
  value.set(text, 9);
  return value;
}

/** A transaction row's value, read. */
export function decodeOutcome(value: Uint8Array): { time: number; kind: OutcomeKind; text: string } {
  const bytes = view(value);
  const kind = OUTCOMES[bytes[0] ?? 0] ?? "aborted";
  return { time: readNumber(bytes, 1), kind, text: textOf(bytes, 9) };
}

/** An idempotency row's value: the transaction that was applied, and its content's hash. */
export function encodeSubmission(txId: TxId, contentHash: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(8 + contentHash.length);
  writeNumber(value, 0, txId);
  value.set(contentHash, 8);
  return value;
}

/** An idempotency row's value, read. */
export function decodeSubmission(value: Uint8Array): { txId: TxId; contentHash: Uint8Array } {
  const bytes = view(value);
  return { txId: readNumber(bytes, 0), contentHash: bytes.subarray(8) };
}

/** A bucket's counters. */
export interface BucketCounters {
  readonly documents: number;
  /** Keys whose last write was a deletion. */
  readonly tombstones: number;
  /** Versions that were superseded before this transaction may be gone. */
  readonly floor: TxId;
  /** Keys whose last write, a deletion, was before this transaction may be gone altogether. */
  readonly gone: TxId;
}

/** A counter row's value. */
export function encodeCounters(counters: BucketCounters): Buffer {
  const isWhole = counters.floor === 0 && counters.gone === 0;
  const value = Buffer.allocUnsafe(isWhole ? 16 : 32);
  writeNumber(value, 0, counters.documents);
  writeNumber(value, 8, counters.tombstones);
  if (isWhole) return value;
  writeNumber(value, 16, counters.floor);
  writeNumber(value, 24, counters.gone);
  return value;
}

/** A counter row's value, read. */
export function decodeCounters(value: Uint8Array): BucketCounters {
  const bytes = view(value);
  const head = { documents: readNumber(bytes, 0), tombstones: readNumber(bytes, 8) };
  return bytes.length === 16
    ? { ...head, floor: 0, gone: 0 }
    : { ...head, floor: readNumber(bytes, 16), gone: readNumber(bytes, 24) };
}

function writeNumber(target: Buffer, at: number, value: number): void {
  target.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  target.writeUInt32BE(value >>> 0, at + 4);
}

function readNumber(source: Buffer, at: number): number {
  return source.readUInt32BE(at) * 2 ** 32 + source.readUInt32BE(at + 4);
}

/** A whole number below 2^56 in 8 bytes of 7 bits, the highest first: each is ASCII. */
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
  for (let place = 0; place < 4; place++) {
    high = (high << 7) | (source[at + place] ?? 0);
    low = (low << 7) | (source[at + 4 + place] ?? 0);
  }
  return high * 2 ** 28 + low;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
