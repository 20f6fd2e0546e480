import { createHash, randomFillSync } from "node:crypto";
import { crc32 } from "node:zlib";

/*
 * The first line of a message:
 *
 *   cairn/2 <CRC-32 of all that follows it and its space> <log tag> <random>[ <by>]
 *
 * The log tag stands for the log that the message was written for, so that what reaches another log is noticed there. The random part
 * makes every message one of its own: two appends of the same operations have different bytes. Neither is part of what an idempotency id
 * compares, which is what follows this line.
 */
const PREFIX = "cairn/2 ";
const OLD_PREFIX = "cairn/1 ";
const CRC_DIGITS = 8;
const TAG_DIGITS = 16;
const RANDOM_DIGITS = 16;
/** Where the log tag begins, and with it what the checksum is of. */
const CHECKED = PREFIX.length + CRC_DIGITS + 1;
/** The end of a first line that names no writer, in what the checksum is of. */
const HEAD_END = TAG_DIGITS + 1 + RANDOM_DIGITS;
const SHORTEST = CHECKED + HEAD_END;
const MAX_BY_BYTES = 64;
const NEWLINE = 0x0a;
const SPACE = 0x20;

/** The first line of a message, read, and what follows it. */
export interface Frame {
  readonly logTag: string;
  /** Who wrote it, where it says so: the name of a token. */
  readonly by: string | undefined;
  /** What the checksum is of. */
  readonly bytes: Buffer;
  /** Where in them the message's second line begins. */
  readonly bodyAt: number;
}

/** A message with this body. `random` is 16 hexadecimal digits; tests give their own. */
export function frameMessage(body: string, logTag: string, random = randomDigits()): Uint8Array {
  const checked = Buffer.from(`${logTag} ${random}\n${body}`, "utf8");
  const message = Buffer.allocUnsafe(CHECKED + checked.length);
  message.write(`${PREFIX}${crc32(checked).toString(16).padStart(CRC_DIGITS, "0")} `, 0, "latin1");
  message.set(checked, CHECKED);
  return message;
}

/** The frame of a message, or why it is none. */
export function readFrame(payload: Uint8Array): Frame | string {
  if (payload.length <= SHORTEST || !startsWith(payload, PREFIX)) return "not a message of Cairn";
  const bytes = checkedPart(payload);
  if (!hasItsChecksum(payload, bytes)) return "the message's checksum does not match";
  const logTag = readTag(bytes);
  const isFramed =
    logTag !== undefined &&
    bytes[TAG_DIGITS] === SPACE &&
    areHex(bytes, TAG_DIGITS + 1, HEAD_END) &&
    (bytes[HEAD_END] === NEWLINE || bytes[HEAD_END] === SPACE);
  if (!isFramed) return "the message's first line is not readable";
  if (bytes[HEAD_END] === NEWLINE) return { logTag, by: undefined, bytes, bodyAt: HEAD_END + 1 };
  const lineEnd = endOfBy(bytes);
  if (lineEnd < 0) return "the message's first line is not readable";
  return { logTag, by: bytes.toString("latin1", HEAD_END + 1, lineEnd), bytes, bodyAt: lineEnd + 1 };
}

/**
 * Whether `payload` begins as a message of Cairn and does not match its checksum. To an index such a message is one that changes nothing,
 * which is right where others may write to the log too. Where only Cairn writes it was damaged on the disk, and passing over it would lose
 * a transaction without a word.
 */
export function isDamagedMessage(payload: Uint8Array): boolean {
  const isFramed = payload.length > SHORTEST && startsWith(payload, PREFIX);
  return isFramed && !hasItsChecksum(payload, checkedPart(payload));
}

/** Whether a message is one that Cairn 0.1.0 wrote, which this version does not read. */
export function isOfFirstVersion(payload: Uint8Array): boolean {
  return startsWith(payload, OLD_PREFIX);
}

/** What stands for the content of a message when the same id is submitted again: SHA-256 of all that follows its first line. */
export function contentHash(payload: Uint8Array): Buffer {
  return createHash("sha256")
    .update(payload.subarray(payload.indexOf(NEWLINE) + 1))
    .digest();
}

/** Bytes of what {@link writePayloadMark} writes. */
const PAYLOAD_MARK_BYTES = 12;

/**
 * Writes the 12 bytes that stand for a payload in the history chain. A message of Cairn has them in its first line: its CRC-32 and its random
 * part. Of any other payload they are the first bytes of its SHA-256.
 */
export function writePayloadMark(target: Buffer, at: number, payload: Uint8Array, isFramed: boolean): void {
  if (!isFramed) {
    createHash("sha256").update(payload).digest().copy(target, at, 0, PAYLOAD_MARK_BYTES);
    return;
  }
  copyHex(payload, PREFIX.length, target, at, CRC_DIGITS / 2);
  copyHex(payload, CHECKED + TAG_DIGITS + 1, target, at + CRC_DIGITS / 2, RANDOM_DIGITS / 2);
}

let lastTag: { readonly logId: string; readonly tag: string } | undefined;

/** What stands for a log in its messages: the first 8 bytes of the SHA-256 of its id, in hexadecimal digits. */
export function logTagOf(logId: string): string {
  if (lastTag?.logId === logId) return lastTag.tag;
  const tag = createHash("sha256").update(logId).digest("hex").slice(0, TAG_DIGITS);
  lastTag = { logId, tag };
  return tag;
}

function checkedPart(payload: Uint8Array): Buffer {
  return Buffer.from(payload.buffer, payload.byteOffset + CHECKED, payload.byteLength - CHECKED);
}

function hasItsChecksum(payload: Uint8Array, checked: Uint8Array): boolean {
  if (payload[CHECKED - 1] !== SPACE) return false;
  const sum = crc32(checked);
  return (
    readHex4(payload, PREFIX.length) === sum >>> 16 && readHex4(payload, PREFIX.length + 4) === (sum & 0xffff)
  );
}

/** Behind the name of a writer, printable ASCII without blanks; -1 where it is none. */
function endOfBy(bytes: Buffer): number {
  const end = bytes.indexOf(NEWLINE, HEAD_END + 1);
  if (end <= HEAD_END + 1 || end > HEAD_END + 1 + MAX_BY_BYTES) return -1;
  for (let at = HEAD_END + 1; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte <= SPACE || byte > 0x7e) return -1;
  }
  return end;
}

const RANDOM_POOL = Buffer.alloc(8 * 512);
let randomLeft = 0;

/** Asking the system for each message would cost as much as all the rest of it. */
function randomDigits(): string {
  if (randomLeft === 0) {
    randomFillSync(RANDOM_POOL);
    randomLeft = RANDOM_POOL.length;
  }
  randomLeft -= 8;
  return RANDOM_POOL.toString("hex", randomLeft, randomLeft + 8);
}

function startsWith(bytes: Uint8Array, prefix: string): boolean {
  if (bytes.length < prefix.length) return false;
  for (let at = 0; at < prefix.length; at += 1) if (bytes[at] !== prefix.charCodeAt(at)) return false;
  return true;
}

/** Nearly all messages that a node reads are of one log: its tag is made a text once. */
let seenTag = { bytes: Buffer.alloc(0), text: "" };

function readTag(bytes: Buffer): string | undefined {
  let at = 0;
  while (at < TAG_DIGITS && bytes[at] === seenTag.bytes[at]) at += 1;
  if (at === TAG_DIGITS) return seenTag.text;
  if (!areHex(bytes, 0, TAG_DIGITS)) return undefined;
  const text = bytes.toString("latin1", 0, TAG_DIGITS);
  seenTag = { bytes: Buffer.from(text), text };
  return text;
}

function areHex(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1)
    if ((HEX_DIGITS[bytes[at] ?? 0] ?? NO_DIGIT) === NO_DIGIT) return false;
  return true;
}

/** Four hexadecimal digits as a number; more than 16 bits where there is anything else. Without making text: it is done for each message. */
function readHex4(bytes: Uint8Array, at: number): number {
  return (
    ((HEX_DIGITS[bytes[at] ?? 0] ?? NO_DIGIT) << 12) |
    ((HEX_DIGITS[bytes[at + 1] ?? 0] ?? NO_DIGIT) << 8) |
    ((HEX_DIGITS[bytes[at + 2] ?? 0] ?? NO_DIGIT) << 4) |
    (HEX_DIGITS[bytes[at + 3] ?? 0] ?? NO_DIGIT)
  );
}

/** Writes the bytes that pairs of hexadecimal digits say. */
function copyHex(source: Uint8Array, from: number, target: Uint8Array, at: number, length: number): void {
  for (let byte = 0; byte < length; byte += 1) {
    const high = HEX_DIGITS[source[from + 2 * byte] ?? 0] ?? NO_DIGIT;
    const low = HEX_DIGITS[source[from + 2 * byte + 1] ?? 0] ?? NO_DIGIT;
    target[at + byte] = (high << 4) | low;
  }
}

/** More than 16 bits, wherever among four digits it stands. */
const NO_DIGIT = 0x10000;
const HEX_DIGITS = Int32Array.from({ length: 256 }, (_, code) => {
  const at = "0123456789abcdef".indexOf(String.fromCharCode(code));
  return at < 0 ? NO_DIGIT : at;
});
