import { crc32 } from "node:zlib";
import type { LogMessage } from "@cairn/node";

/** A message to be stored. */
export interface Entry {
  readonly payload: Uint8Array;
  readonly messageId: string | undefined;
}

/** A stored message. */
export interface StoredEntry extends LogMessage {
  readonly messageId: string;
}

/** The size in bytes of a frame's header: the length of its body, the body's CRC-32, and the CRC-32 of these two. */
export const HEADER_BYTES = 12;
const BODY_HEADER_BYTES = 12;
const ENTRY_HEADER_BYTES = 6;

/** Encodes a group of messages that is written with one flush. A frame is valid only as a whole. */
export function encodeFrame(time: number, entries: readonly Entry[]): Buffer {
  const head = Buffer.alloc(HEADER_BYTES + BODY_HEADER_BYTES);
  head.writeDoubleBE(time, HEADER_BYTES);
  head.writeUInt32BE(entries.length, HEADER_BYTES + 8);
  const parts: Uint8Array[] = [head];
  for (const { payload, messageId = "" } of entries) {
    const id = Buffer.from(messageId);
    const header = Buffer.alloc(ENTRY_HEADER_BYTES);
    header.writeUInt16BE(id.length, 0);
    header.writeUInt32BE(payload.length, 2);
    parts.push(header, id, payload);
  }
  const frame = Buffer.concat(parts);
  frame.writeUInt32BE(frame.length - HEADER_BYTES, 0);
  frame.writeUInt32BE(crc32(frame.subarray(HEADER_BYTES)), 4);
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8);
  return frame;
}

/**
 * Returns the length of a body from its header; undefined for a damaged header, which could be mistaken for an
 * unfinished end.
 */
export function bodyLength(header: Buffer): number | undefined {
  return header.readUInt32BE(8) === crc32(header.subarray(0, 8)) ? header.readUInt32BE(0) : undefined;
}

/** Returns whether a body matches its header. */
export function isWhole(header: Buffer, body: Buffer): boolean {
  return header.readUInt32BE(4) === crc32(body);
}

/** Returns the number of messages in a body. */
export function countOf(body: Buffer): number {
  return body.readUInt32BE(8);
}

/** Yields the messages of a body. The first one has the position `first`. */
export function* decodeBody(body: Buffer, first: number): Generator<StoredEntry> {
  const time = body.readDoubleBE(0);
  const count = countOf(body);
  let at = BODY_HEADER_BYTES;
  for (let index = 0; index < count; index += 1) {
    const idLength = body.readUInt16BE(at);
    const payloadLength = body.readUInt32BE(at + 2);
    at += ENTRY_HEADER_BYTES;
    const messageId = body.toString("utf8", at, at + idLength);
    const payload = body.subarray(at + idLength, at + idLength + payloadLength);
    at += idLength + payloadLength;
    yield { position: first + index, time, payload, messageId };
  }
}
