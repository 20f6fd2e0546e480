import { crc32 } from "node:zlib";
import { type BatchEnding, CairnError, type KvOperation } from "@cairn/kv";
import type { LogMessage } from "../tx-log.ts";
import { FORMAT_1 } from "./format-1.ts";

/**
 * Rows of the embedded log, in key order:
 * - 0x00 → the log's head: its format, its id, and the first position whose row has an end
 * - 0x00 0x00 → the log's last position when messages were last removed (8 bytes), end
 * - position (8 bytes, so the first byte is zero) → time (8 bytes), payload, end
 * All numbers are big-endian, so that keys are in numeric order. Appended rows follow all others, so the tables that they
 * become are disjoint, and LevelDB never writes them again. The *end* of a batch's last row shows where the batch began.
 */
export const HEAD_KEY: Uint8Array = Uint8Array.of(0x00);

export const REMOVAL_KEY: Uint8Array = Uint8Array.of(0x00, 0x00);

export const POSITIONS = { gte: new Uint8Array(8), lt: Uint8Array.of(0x01) } as const;

export interface Head {
  readonly id: string;
  /** The first position whose row has an end. Earlier rows were written by the format before. */
  readonly endsFrom: number;
}

const FORMAT = 2;
const TIME_BYTES = 8;
/** The number of rows with an end that follow in the batch (4), the batch's size up to this one (4), their CRC-32 (4). */
const END_BYTES = 12;
const END_CHECKED_BYTES = 8;

// LevelDB's format of a batch (db/write_batch.cc): sequence number and count, then for each row a byte for its type, the
// key and the value, both preceded by their lengths as varints.
const BATCH_HEADER_BYTES = 12;

export function positionKey(position: number): Uint8Array {
  const key = Buffer.allocUnsafe(8);
  key.writeBigUInt64BE(BigInt(position));
  return key;
}

export function positionOf(key: Uint8Array): number {
  return readUint64(key, 0);
}

/** A row with an end; `number` is a message's time, or a last position. */
export interface EndedRow {
  readonly key: Uint8Array;
  readonly number: number;
  readonly content: Uint8Array;
}

/**
 * Returns a batch of `changes` and `rows`. After a power loss, the end of its last row shows where the batch began, and
 * thus whether anything else is missing.
 */
export function batchOf(changes: readonly KvOperation[], rows: readonly EndedRow[]): KvOperation[] {
  let bytes = BATCH_HEADER_BYTES;
  for (const change of changes) {
    bytes += 1 + lengthPrefixed(change.key.length);
    if (change.type === "put") bytes += lengthPrefixed(change.value.length);
  }
  const puts = rows.map(({ key, number, content }, at): KvOperation => {
    const endAt = TIME_BYTES + content.length;
    const value = Buffer.allocUnsafe(endAt + END_BYTES);
    bytes += 1 + lengthPrefixed(key.length) + lengthPrefixed(value.length);
    value.writeBigUInt64BE(BigInt(number), 0);
    value.set(content, TIME_BYTES);
    value.writeUInt32BE(rows.length - 1 - at, endAt);
    value.writeUInt32BE(bytes, endAt + 4);
    value.writeUInt32BE(crc32(value.subarray(endAt, endAt + END_CHECKED_BYTES)), endAt + END_CHECKED_BYTES);
    return { type: "put", key, value };
  });
  return [...changes, ...puts];
}

/** Returns a batch that removes `keys`; `last` is the log's last position. */
export function removalOf(keys: readonly Uint8Array[], last: number): KvOperation[] {
  return batchOf(keys.map(deletionOf), [removalRow(last)]);
}

export function deletionOf(key: Uint8Array): KvOperation {
  return { type: "del", key };
}

export function removalRow(last: number): EndedRow {
  return { key: REMOVAL_KEY, number: last, content: new Uint8Array(0) };
}

export function decodeRemoval(value: Uint8Array): number {
  return readUint64(value, 0);
}

/** Whether a row with an end is the last one of its batch. */
export function isLastOfBatch(value: Uint8Array): boolean {
  return batchBytes(Buffer.from(value.buffer, value.byteOffset, value.byteLength)) !== undefined;
}

/** Returns the message in a row, which has an end from position `endsFrom` on. Its payload is a view of `value`. */
export function decodeRow(position: number, value: Uint8Array, endsFrom: number): LogMessage {
  const end = position < endsFrom ? value.length : value.length - END_BYTES;
  return { position, time: readUint64(value, 0), payload: value.subarray(TIME_BYTES, end) };
}

export const BATCH_ENDING: BatchEnding = {
  bytes: FORMAT_1.endingBytes,
  batchBytes: (ending) => batchBytes(Buffer.from(ending)) ?? FORMAT_1.batchBytes(Buffer.from(ending)),
};

/** Returns the size of the batch that ends with `ending`; undefined if it is not the end of a batch's last row. */
function batchBytes(ending: Buffer): number | undefined {
  const at = ending.length - END_BYTES;
  if (at < 0 || ending.readUInt32BE(at) !== 0) return undefined;
  const sumAt = at + END_CHECKED_BYTES;
  return ending.readUInt32BE(sumAt) === crc32(ending.subarray(at, sumAt))
    ? ending.readUInt32BE(at + 4)
    : undefined;
}

export function encodeHead({ id, endsFrom }: Head): Uint8Array {
  return Buffer.from(JSON.stringify({ format: FORMAT, id, endsFrom }));
}

/** Returns the content of a head's row. Throws `LOG_DIFFERENT` if a later version of Cairn wrote it. */
export function decodeHead(path: string, value: Uint8Array): Head {
  const head: unknown = JSON.parse(Buffer.from(value).toString());
  if (head !== null && typeof head === "object" && "format" in head && "id" in head && "endsFrom" in head) {
    const { format, id, endsFrom } = head;
    if (format === FORMAT && typeof id === "string" && typeof endsFrom === "number") return { id, endsFrom };
  }
  throw new CairnError(
    "LOG_DIFFERENT",
    `The log in ${path} was written by another version of Cairn.`,
    "Use the version that wrote it or a later one, or configure another log folder for this node.",
  );
}

function readUint64(bytes: Uint8Array, offset: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 8);
  return view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4);
}

function lengthPrefixed(length: number): number {
  let prefix = 1;
  for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 0x80)) prefix += 1;
  return prefix + length;
}
