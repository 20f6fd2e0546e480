import type { LogMessage } from "./tx-log.ts";

/** The row of the log's id. Every position begins with a zero byte, so it lies after all of them. */
export const LOG_ID_KEY: Uint8Array = Uint8Array.of(0xff, 0x69, 0x64);

/** The first key that is no position. */
export const POSITIONS_END: Uint8Array = Uint8Array.of(0x01);

const HEADER_BYTES = 10;

/** The key of a position: 8 bytes, big-endian, so that byte order is the log's order. */
export function positionKey(position: number): Uint8Array {
  const key = Buffer.allocUnsafe(8);
  key.writeBigUInt64BE(BigInt(position));
  return key;
}

/** The position of a key made by {@link positionKey}. */
export function positionOf(key: Uint8Array): number {
  const bytes = view(key);
  return bytes.getUint32(0) * 0x1_0000_0000 + bytes.getUint32(4);
}

/** A row's value: time (8 bytes), length of the message id (2 bytes), message id, payload. */
export function encodeRow(time: number, messageId: string | undefined, payload: Uint8Array): Uint8Array {
  const id = messageId === undefined ? undefined : Buffer.from(messageId);
  const idBytes = id?.length ?? 0;
  const row = Buffer.allocUnsafe(HEADER_BYTES + idBytes + payload.length);
  row.writeBigUInt64BE(BigInt(time), 0);
  row.writeUInt16BE(idBytes, 8);
  if (id !== undefined) row.set(id, HEADER_BYTES);
  row.set(payload, HEADER_BYTES + idBytes);
  return row;
}

/** The message in a row. Its payload is a view of `value`. */
export function decodeRow(position: number, value: Uint8Array): LogMessage {
  const bytes = view(value);
  const time = bytes.getUint32(0) * 0x1_0000_0000 + bytes.getUint32(4);
  return { position, time, payload: value.subarray(HEADER_BYTES + bytes.getUint16(8)) };
}

/** The message id in a row; undefined when it was appended without one. */
export function messageIdOf(value: Uint8Array): string | undefined {
  const length = view(value).getUint16(8);
  if (length === 0) return undefined;
  return Buffer.from(value.buffer, value.byteOffset + HEADER_BYTES, length).toString();
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
