import { crc32 } from "node:zlib";

const PREFIX = Buffer.from("cairn/1 ", "latin1");
const CRC_DIGITS = 8;
const HEAD = PREFIX.length + CRC_DIGITS + 1;

/**
 * Whether `payload` begins as a message of Cairn and does not match its checksum (docs/log-format.md). To an index such a message is
 * one that changes nothing, which is right where others may write to the log too. Where only Cairn writes it was
 * damaged on the disk, and passing over it would lose a transaction without a word.
 */
export function isDamagedMessage(payload: Uint8Array): boolean {
  if (payload.length < HEAD) return false;
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.compare(PREFIX, 0, PREFIX.length, 0, PREFIX.length) !== 0) return false;
  const digits = bytes.toString("latin1", PREFIX.length, HEAD - 1);
  return Number.parseInt(digits, 16) !== crc32(bytes.subarray(HEAD));
}
