import { createHash, randomUUID } from "node:crypto";
import { crc32 } from "node:zlib";
import { CairnError } from "@cairn/kv";

/*
 * The first line of a message:
 *
 *   cairn/1 <CRC-32 of everything after the space that follows> <log tag> <random>[ <by>]
 *
 * The log tag identifies the intended log, so that a message that ends up in another log is recognized there. The
 * random part makes every message unique: two appends of the same operations have different bytes. Neither matters when
 * two submissions with the same idempotency id are compared, because only the lines after the first are.
 *
 * The digit is the format of the lines that follow. The first line keeps its form in every format, so that each version
 * recognizes the messages that only a later one understands. From format 2 on, the checksum also covers the digit before
 * everything else, so that no damaged digit makes a message one of another format.
 */
const PREFIX = "cairn/1 ";
const FORMAT_AT = "cairn/".length;
const FORMAT = 1;
const CRC_DIGITS = 8;
const TAG_DIGITS = 16;
const RANDOM_DIGITS = 16;
/** The offset at which the log tag begins, and with it the part that the checksum covers. */
const CHECKED = PREFIX.length + CRC_DIGITS + 1;
/** The offset at which a first line without a writer's name ends, counted in the part that the checksum covers. */
const HEAD_END = TAG_DIGITS + 1 + RANDOM_DIGITS;
const SHORTEST = CHECKED + HEAD_END;
const MAX_BY_BYTES = 64;
const WRITER = /^[\u0021-\u007E]{1,64}$/;
const NEWLINE = 0x0a;
const ZERO = 0x30;
const SPACE = 0x20;

export interface Frame {
  readonly format: number;
  readonly logTag: string;
  /** The name of the token that wrote the message, if the token has one. */
  readonly by: string | undefined;
  /** The part that the checksum covers. */
  readonly bytes: Buffer;
  /** The offset of the message's second line in `bytes`. */
  readonly bodyAt: number;
}

/**
 * Returns a message of the writer `by`, or throws `TX_INVALID` if `by` is invalid. Only tests set `random` (16 digits).
 */
export function frameMessage(body: string, logTag: string, random = randomDigits(), by?: string): Uint8Array {
  if (by !== undefined && !WRITER.test(by)) {
    throw new CairnError(
      "TX_INVALID",
      `${JSON.stringify(by)} cannot be recorded as the writer of a transaction.`,
      "Name the writer with 1 to 64 visible ASCII characters.",
    );
  }
  const text = `${logTag} ${random}${by === undefined ? "" : ` ${by}`}\n${body}`;
  const message = Buffer.allocUnsafe(CHECKED + Buffer.byteLength(text, "utf8"));
  message.write(text, CHECKED, "utf8");
  const sum = crc32(message.subarray(CHECKED));
  message.write(`${PREFIX}${sum.toString(16).padStart(CRC_DIGITS, "0")} `, 0, "latin1");
  return message;
}

/** Returns the frame of a message, or the reason why it is not readable. */
export function readFrame(payload: Uint8Array): Frame | string {
  const format = formatOf(payload);
  if (format === undefined) return "not a message of Cairn";
  const bytes = checkedPart(payload);
  if (!hasItsChecksum(payload, bytes)) return "the message's checksum does not match";
  const logTag = readTag(bytes);
  const isFramed =
    logTag !== undefined &&
    bytes[TAG_DIGITS] === SPACE &&
    areHex(bytes, TAG_DIGITS + 1, HEAD_END) &&
    (bytes[HEAD_END] === NEWLINE || bytes[HEAD_END] === SPACE);
  if (!isFramed) return "the message's first line is not readable";
  if (bytes[HEAD_END] === NEWLINE) return { format, logTag, by: undefined, bytes, bodyAt: HEAD_END + 1 };
  const lineEnd = endOfWriter(bytes);
  if (lineEnd < 0) return "the message's first line is not readable";
  return { format, logTag, by: bytes.toString("latin1", HEAD_END + 1, lineEnd), bytes, bodyAt: lineEnd + 1 };
}

/** Whether only a later version understands the lines after a message's first one. */
export function isOfLaterFormat({ format }: Frame): boolean {
  return format > FORMAT;
}

/**
 * Returns whether `payload` begins like a Cairn message but does not match its checksum. Ignoring it is correct if
 * other programs can write to the log; otherwise it was damaged on disk, and a transaction would be lost silently.
 */
export function isDamagedMessage(payload: Uint8Array): boolean {
  return formatOf(payload) !== undefined && !hasItsChecksum(payload, checkedPart(payload));
}

/** Returns the SHA-256 of what follows a message's first line, by which submissions with the same id are compared. */
export function contentHash(payload: Uint8Array): Buffer {
  return createHash("sha256")
    .update(payload.subarray(payload.indexOf(NEWLINE) + 1))
    .digest();
}

const PAYLOAD_MARK_BYTES = 12;

/**
 * Returns the 12 bytes that represent a payload in the history chain. For a Cairn message, they are the CRC-32 and the
 * random part in its first line; for any other payload, they are the first bytes of its SHA-256. `isReadable` is true if
 * the payload is known to be a Cairn message.
 */
export function payloadMark(payload: Uint8Array, isReadable = false): Buffer {
  const mark = Buffer.allocUnsafe(PAYLOAD_MARK_BYTES);
  if (isReadable || typeof readFrame(payload) !== "string") {
    copyHex(payload, PREFIX.length, mark, 0, CRC_DIGITS / 2);
    copyHex(payload, CHECKED + TAG_DIGITS + 1, mark, CRC_DIGITS / 2, RANDOM_DIGITS / 2);
  } else createHash("sha256").update(payload).digest().copy(mark, 0, 0, PAYLOAD_MARK_BYTES);
  return mark;
}

/** Returns the first four bytes of a payload's mark: the CRC-32 of a Cairn message. */
export function payloadChecksum(payload: Uint8Array): number {
  return payloadMark(payload).readUInt32BE(0);
}

/** Returns the CRC-32 in the first line of a Cairn message. */
export function messageChecksum(payload: Uint8Array): number {
  return ((readHex4(payload, PREFIX.length) << 16) | readHex4(payload, PREFIX.length + 4)) >>> 0;
}

let lastTag: { readonly logId: string; readonly tag: string } | undefined;

/** Returns a log's tag in its messages: the first 8 bytes of the SHA-256 of its id, in hexadecimal digits. */
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
  const isLater = payload[FORMAT_AT] !== ZERO + FORMAT;
  const sum = isLater ? crc32(checked, crc32(payload.subarray(FORMAT_AT, FORMAT_AT + 1))) : crc32(checked);
  return (
    readHex4(payload, PREFIX.length) === sum >>> 16 && readHex4(payload, PREFIX.length + 4) === (sum & 0xffff)
  );
}

/** Returns the offset at which the writer's name ends; -1 if the name is not printable ASCII without spaces. */
function endOfWriter(bytes: Buffer): number {
  const end = bytes.indexOf(NEWLINE, HEAD_END + 1);
  if (end <= HEAD_END + 1 || end > HEAD_END + 1 + MAX_BY_BYTES) return -1;
  for (let at = HEAD_END + 1; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte <= SPACE || byte > 0x7e) return -1;
  }
  return end;
}

/** Returns random digits of a UUID. Node keeps some ready: a system call for each message would double the cost of a frame. */
function randomDigits(): string {
  const uuid = randomUUID();
  return uuid.slice(0, RANDOM_DIGITS / 2) + uuid.slice(-RANDOM_DIGITS / 2);
}

/** Returns the format of a message's lines, from 1 to 9; undefined for what is no message of Cairn. */
function formatOf(payload: Uint8Array): number | undefined {
  if (payload.length <= SHORTEST) return undefined;
  for (let at = 0; at < PREFIX.length; at += 1)
    if (at !== FORMAT_AT && payload[at] !== PREFIX.charCodeAt(at)) return undefined;
  const format = (payload[FORMAT_AT] ?? 0) - ZERO;
  return format >= 1 && format <= 9 ? format : undefined;
}

/** The tag that was read last. It is cached, because nearly all messages that a node reads have the same tag. */
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

/** Returns more than 16 bits for anything else. Creates no string, because it runs for every message. */
function readHex4(bytes: Uint8Array, at: number): number {
  return (
    ((HEX_DIGITS[bytes[at] ?? 0] ?? NO_DIGIT) << 12) |
    ((HEX_DIGITS[bytes[at + 1] ?? 0] ?? NO_DIGIT) << 8) |
    ((HEX_DIGITS[bytes[at + 2] ?? 0] ?? NO_DIGIT) << 4) |
    (HEX_DIGITS[bytes[at + 3] ?? 0] ?? NO_DIGIT)
  );
}

/** Writes the bytes that pairs of hexadecimal digits encode. */
function copyHex(source: Uint8Array, from: number, target: Uint8Array, at: number, length: number): void {
  for (let byte = 0; byte < length; byte += 1) {
    const high = HEX_DIGITS[source[from + 2 * byte] ?? 0] ?? NO_DIGIT;
    const low = HEX_DIGITS[source[from + 2 * byte + 1] ?? 0] ?? NO_DIGIT;
    target[at + byte] = (high << 4) | low;
  }
}

/** The value of a character that is not a digit. At any of the four places, it makes the result exceed 16 bits. */
const NO_DIGIT = 0x10000;
const HEX_DIGITS = Int32Array.from({ length: 256 }, (_, code) => {
  const at = "0123456789abcdef".indexOf(String.fromCharCode(code));
  return at < 0 ? NO_DIGIT : at;
});
