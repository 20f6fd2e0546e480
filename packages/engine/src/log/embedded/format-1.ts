import { crc32 } from "node:zlib";

/*
 * The rows of format 1, which 0.1.0 wrote:
 * - position (8 bytes) → time (8 bytes), payload
 * - 0x02, position → time, message id
 * - 0x03 → the log's last position (8 bytes), the size of the newest batch (4), and the CRC-32 of both (4); the last row
 *   of every batch
 * - 0xff → the log's head: its format and id
 */
const END_KEY: Uint8Array = Uint8Array.of(0x03);
const END_VALUE_BYTES = 16;
const CHECKED_BYTES = 12;
/** How the row at 0x03 begins in a batch of LevelDB: a put, the key and the value's length. */
const END_HEAD = Uint8Array.of(1, END_KEY.length, ...END_KEY, END_VALUE_BYTES);

export const FORMAT_1 = {
  headKey: Uint8Array.of(0xff),
  endKey: END_KEY,
  messageIds: { gte: Uint8Array.of(0x02), lt: END_KEY },
  endingBytes: END_HEAD.length + END_VALUE_BYTES,
  /** Returns the log's id; undefined if the row is not the head of a log in this format. */
  logId(head: Uint8Array): string | undefined {
    const { format, id } = JSON.parse(Buffer.from(head).toString()) as { format?: unknown; id?: unknown };
    return format === 1 && typeof id === "string" ? id : undefined;
  },
  /** Undefined if `value` is not that of the row at 0x03. */
  last(value: Uint8Array): number | undefined {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return isEnd(bytes) ? Number(bytes.readBigUInt64BE(0)) : undefined;
  },
  /** Returns the size of the batch that ends with `ending`; undefined if it does not end one. */
  batchBytes(ending: Buffer): number | undefined {
    if (ending.compare(END_HEAD, 0, END_HEAD.length, 0, END_HEAD.length) !== 0) return undefined;
    const value = ending.subarray(END_HEAD.length);
    return isEnd(value) ? value.readUInt32BE(8) : undefined;
  },
} as const;

function isEnd(value: Buffer): boolean {
  if (value.length !== END_VALUE_BYTES) return false;
  return value.readUInt32BE(CHECKED_BYTES) === crc32(value.subarray(0, CHECKED_BYTES));
}
