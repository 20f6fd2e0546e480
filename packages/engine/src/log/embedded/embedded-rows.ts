import { crc32 } from "node:zlib";
import { type BatchEnding, CairnError, type KvOperation } from "@cairn/kv";
import type { LogMessage } from "../tx-log.ts";

/**
 * Rows of the embedded log, in key order:
 * - position (8 bytes, so the first byte is zero) → time (8 bytes), payload
 * - 0x02, position → time (8 bytes), message id; only for messages with an id, and only while it is remembered
 * - 0x03 → how the newest batch ends; the last row of every batch (`endedBatch`)
 * - 0xff → the log's head: its format and id. A later format's head is in another row, which sorts before all positions.
 * All numbers are big-endian, so that keys are in numeric order. Message ids have their own rows, so that opening can read the recent ones
 * without their payloads.
 */
export const HEAD_KEY: Uint8Array = Uint8Array.of(0xff);

export const LATER_HEAD_KEY: Uint8Array = Uint8Array.of(0x00);

export const POSITIONS_BEGIN: Uint8Array = new Uint8Array(8);

export const POSITIONS_END: Uint8Array = Uint8Array.of(0x01);

export const MESSAGE_IDS = { gte: Uint8Array.of(0x02), lt: Uint8Array.of(0x03) } as const;

export const BATCH_END_KEY: Uint8Array = Uint8Array.of(0x03);

const FORMAT = 1;
const TIME_BYTES = 8;

export function positionKey(position: number): Uint8Array {
  return prefixed(position, 0);
}

export function messageIdKey(position: number): Uint8Array {
  const key = prefixed(position, 1);
  key[0] = 0x02;
  return key;
}

/** Returns the position in a key, which is its last 8 bytes. */
export function positionOf(key: Uint8Array): number {
  return readUint64(key, key.length - 8);
}

export function encodeRow(time: number, content: Uint8Array): Uint8Array {
  const row = Buffer.allocUnsafe(TIME_BYTES + content.length);
  row.writeBigUInt64BE(BigInt(time), 0);
  row.set(content, TIME_BYTES);
  return row;
}

/** Returns the message in a row. Its payload is a view of `value`. */
export function decodeRow(position: number, value: Uint8Array): LogMessage {
  return { position, time: readUint64(value, 0), payload: value.subarray(TIME_BYTES) };
}

export function encodeHead(logId: string): Uint8Array {
  return Buffer.from(JSON.stringify({ format: FORMAT, id: logId }));
}

/** Returns the log id in the head's row. Throws `LOG_DIFFERENT` if another version of Cairn wrote it. */
export function decodeHead(path: string, value: Uint8Array): string {
  const head: unknown = JSON.parse(Buffer.from(value).toString());
  if (head !== null && typeof head === "object" && "format" in head && "id" in head) {
    if (head.format === FORMAT && typeof head.id === "string") return head.id;
  }
  throw new CairnError(
    "LOG_DIFFERENT",
    `The log in ${path} was written by another version of Cairn.`,
    "Use the version that wrote it, or configure another log folder for this node.",
  );
}

function prefixed(position: number, prefixBytes: number): Buffer {
  const key = Buffer.allocUnsafe(prefixBytes + 8);
  key.writeBigUInt64BE(BigInt(position), prefixBytes);
  return key;
}

function readUint64(bytes: Uint8Array, offset: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 8);
  return view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4);
}

// LevelDB's format of a batch (db/write_batch.cc): sequence number and count, then for each row a byte for its type, the key and the value,
// both preceded by their lengths as varints.
const BATCH_HEADER_BYTES = 12;
const PUT = 1;

/** The log's last position (8 bytes), the size of the batch (4), and the CRC-32 of both (4). */
const VALUE_BYTES = 16;
const CHECKED_BYTES = 12;
const ROW_HEAD = Uint8Array.of(PUT, BATCH_END_KEY.length, ...BATCH_END_KEY, VALUE_BYTES);

/**
 * Returns a batch of `changes`, after which `last` is the log's last position. Its final row contains the batch's size.
 * After a power loss, this row shows where the batch began, and thus whether anything else is missing.
 */
export function endedBatch(changes: readonly KvOperation[], last: number): KvOperation[] {
  const value = Buffer.alloc(VALUE_BYTES);
  let bytes = BATCH_HEADER_BYTES + ROW_HEAD.length + VALUE_BYTES;
  for (const change of changes) {
    bytes += 1 + lengthPrefixed(change.key.length);
    if (change.type === "put") bytes += lengthPrefixed(change.value.length);
  }
  value.writeBigUInt64BE(BigInt(last), 0);
  value.writeUInt32BE(bytes, 8);
  value.writeUInt32BE(crc32(value.subarray(0, CHECKED_BYTES)), CHECKED_BYTES);
  return [...changes, { type: "put", key: BATCH_END_KEY, value }];
}

export function removalOf(keys: readonly Uint8Array[]): KvOperation[] {
  return keys.map((key) => ({ type: "del", key }));
}

export const BATCH_ENDING: BatchEnding = {
  bytes: ROW_HEAD.length + VALUE_BYTES,
  batchBytes(ending) {
    const bytes = Buffer.from(ending);
    if (bytes.compare(ROW_HEAD, 0, ROW_HEAD.length, 0, ROW_HEAD.length) !== 0) return undefined;
    const value = bytes.subarray(ROW_HEAD.length);
    return lastOfBatch(value) === undefined ? undefined : value.readUInt32BE(8);
  },
};

/** Undefined if `value` is not that of a batch's final row. */
export function lastOfBatch(value: Uint8Array): number | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length !== VALUE_BYTES) return undefined;
  if (bytes.readUInt32BE(CHECKED_BYTES) !== crc32(bytes.subarray(0, CHECKED_BYTES))) return undefined;
  return Number(bytes.readBigUInt64BE(0));
}

function lengthPrefixed(length: number): number {
  let prefix = 1;
  for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 0x80)) prefix += 1;
  return prefix + length;
}
