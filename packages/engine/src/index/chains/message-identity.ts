import type { LogMessage } from "../../log/tx-log.ts";
import { payloadMark } from "../../transactions/message-frame.ts";
import { IDENTITY_BYTES, MARK_BYTES } from "../rows/chain-rows.ts";

/** Returns the identity of a message in the history chain. `isReadable` is true if the message could be decoded. */
export function messageIdentity({ time, nanoseconds = 0, payload }: LogMessage, isReadable: boolean): Buffer {
  const identity = payloadMark(payload, isReadable);
  const seconds = Math.floor(time / 1_000);
  xorUint32(identity, 4, seconds);
  xorUint32(identity, 8, (time - seconds * 1_000) * 1_000_000 + nanoseconds);
  return identity;
}

/**
 * Returns the mark of a message, by which a position distinguishes it from any other that a log may have in its place.
 * It contains random digits, because times may be equal, and the time, because a node may append a message again.
 */
export function messageMark(identity: Buffer): Buffer {
  return identity.subarray(IDENTITY_BYTES - MARK_BYTES);
}

function xorUint32(target: Buffer, at: number, value: number): void {
  target.writeUInt32BE((target.readUInt32BE(at) ^ value) >>> 0, at);
}
