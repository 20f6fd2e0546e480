import type { TxId } from "@cairn/client";
import { asBuffer, ID_BYTES, readId, writeId } from "./row-key-parts.ts";
import { ROW } from "./row-keys.ts";

/** The row of an event; its time in nanoseconds since 1970. */
export function eventRowKey(time: bigint, txId: TxId, place: number): Buffer {
  const key = Buffer.allocUnsafe(1 + ID_BYTES + ID_BYTES + 4);
  key[0] = ROW.event;
  key.writeBigUInt64BE(time, 1);
  writeId(key, 1 + ID_BYTES, txId);
  key.writeUInt32BE(place, 1 + ID_BYTES + ID_BYTES);
  return key;
}

/** The time in an event row's key. */
export function eventRowTime(key: Uint8Array): bigint {
  return asBuffer(key).readBigUInt64BE(1);
}

/** What recorded an event: a transaction, and the event's place in it. */
export function eventRowOrigin(key: Uint8Array): { txId: TxId; place: number } {
  return { txId: readId(key, 1 + ID_BYTES), place: asBuffer(key).readUInt32BE(1 + ID_BYTES + ID_BYTES) };
}

const NS_PER_MS = 1_000_000n;

/** The time of a transaction as events have it. */
export function nanoseconds(time: number): bigint {
  return BigInt(time) * NS_PER_MS;
}
