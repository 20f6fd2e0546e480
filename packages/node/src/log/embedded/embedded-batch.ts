import { crc32 } from "node:zlib";
import type { BatchEnding } from "@cairn/kv";
import { BATCH_END_KEY } from "./embedded-row.ts";

/** A row to store, or the key of one to remove. */
export type RowChange =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

// How LevelDB writes a batch (doc of db/write_batch.cc): sequence number and count, then each row with a byte for its type, the
// key, and the value, both with their lengths as varints in front.
const BATCH_HEADER_BYTES = 12;
const PUT = 1;

/** In the last row's value: the log's last position (8 bytes), the batch's bytes (4), and the CRC-32 of both (4). */
const VALUE_BYTES = 16;
const CHECKED_BYTES = 12;
const ROW_HEAD = Uint8Array.of(PUT, BATCH_END_KEY.length, ...BATCH_END_KEY, VALUE_BYTES);

/**
 * The batch of `changes`, after which `last` is the log's last position, and a final row with the batch's size: after a power loss it
 * shows where the batch began, and so whether anything else is missing.
 */
export function endedBatch(changes: readonly RowChange[], last: number): RowChange[] {
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

/** Changes that remove the rows with these keys. */
export function removalOf(keys: readonly Uint8Array[]): RowChange[] {
  return keys.map((key) => ({ type: "del", key }));
}

/** How every batch of an embedded log ends in LevelDB's write-ahead log. */
export const BATCH_ENDING: BatchEnding = {
  bytes: ROW_HEAD.length + VALUE_BYTES,
  batchBytes(ending) {
    const bytes = Buffer.from(ending);
    if (bytes.compare(ROW_HEAD, 0, ROW_HEAD.length, 0, ROW_HEAD.length) !== 0) return undefined;
    const value = bytes.subarray(ROW_HEAD.length);
    return lastOfBatch(value) === undefined ? undefined : value.readUInt32BE(8);
  },
};

/** The last position in the value of a batch's final row; undefined if it is not such a value. */
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
