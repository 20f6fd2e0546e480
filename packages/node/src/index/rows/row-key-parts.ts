import type { TxId } from "@cairn/client";

/** Ends a part of a key. */
export const END = 0x00;
/** After {@link END}: the byte is the part's own. */
export const ESCAPED = 0xff;
/** A tx-id or a time in a key. */
export const ID_BYTES = 8;

/** A part of a key in UTF-8, its 0x00 bytes escaped, and without an end. */
export function escape(part: string): Buffer {
  const bytes = Buffer.from(part, "utf8");
  if (!bytes.includes(END)) return bytes;
  const out: number[] = [];
  for (const byte of bytes) {
    out.push(byte);
    if (byte === END) out.push(ESCAPED);
  }
  return Buffer.from(out);
}

/**
 * Writes a part and its end, if the part is ASCII without 0x00: the same bytes as from {@link escape}, in half the time. Returns where the
 * next part begins; -1 where the part has other characters.
 */
export function writeAsciiPart(target: Buffer, at: number, part: string): number {
  for (let index = 0; index < part.length; index += 1) {
    const code = part.charCodeAt(index);
    if (code === END || code > 0x7f) return -1;
    target[at + index] = code;
  }
  target[at + part.length] = END;
  return at + part.length + 1;
}

/** What {@link escape} made of a part. */
export function unescape(bytes: Buffer): string {
  // UTF-8 has no byte 0xFF: each one is an escape's.
  return bytes.includes(END)
    ? Buffer.from(bytes.filter((byte) => byte !== ESCAPED)).toString("utf8")
    : bytes.toString("utf8");
}

/** Writes a number into a key. */
export function writeId(target: Buffer, at: number, id: TxId): void {
  target.writeUInt32BE(Math.floor(id / 2 ** 32), at);
  target.writeUInt32BE(id >>> 0, at + 4);
}

/** Reads a number of a key. */
export function readId(source: Uint8Array, at: number): TxId {
  const bytes = asBuffer(source);
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** The same bytes as a buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
