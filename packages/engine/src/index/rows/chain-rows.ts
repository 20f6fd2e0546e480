import type { TxId } from "@cairn/client";
import { ROW, rowsOfKind, rowTxId } from "./row-keys.ts";
import { damagedRow, sealed, unsealed } from "./row-checksum.ts";

export const CHAIN_BYTES = 32;
/** A mark of the payload (`payloadMark`), whose last 8 bytes are XORed with the message's time. */
export const IDENTITY_BYTES = 12;
/** The mark of a message is the end of its identity. */
export const MARK_BYTES = 6;
/** The mark (in hex) where there is no message, or its outcome was removed. */
export const NO_MARK = "00".repeat(MARK_BYTES);
/** 4 bytes for the checksum of the outcome row, and 4 for a checksum over the writes and the number of documents. */
export const EFFECT_BYTES = 8;
/** The maximum number of messages in one row of entries. It is small, because every batch rewrites the newest row. */
export const ENTRIES_IN_ROW = 32;

/** The values of the two chains at a transaction. */
export interface Link {
  readonly history: Uint8Array;
  readonly effects: Uint8Array;
}

interface ChainEntries {
  readonly first: TxId;
  readonly identities: Uint8Array;
  readonly effects: Uint8Array;
}

export const ALL_LINKS = rowsOfKind(ROW.link);
export const ALL_ENTRIES = rowsOfKind(ROW.chainEntries);

export function encodeLink(key: Uint8Array, { history, effects }: Link): Buffer {
  return sealed(key, Buffer.concat([history, effects]));
}

export function decodeLink(key: Uint8Array, value: Uint8Array): Link {
  const bytes = unsealed(key, value);
  if (bytes.length !== 2 * CHAIN_BYTES) throw damagedRow(key);
  return { history: bytes.subarray(0, CHAIN_BYTES), effects: bytes.subarray(CHAIN_BYTES) };
}

export function encodeEntries(key: Uint8Array, { identities, effects }: ChainEntries): Buffer {
  return sealed(key, Buffer.concat([identities, effects]));
}

export function decodeEntries(key: Uint8Array, value: Uint8Array): ChainEntries & { readonly count: number } {
  const bytes = unsealed(key, value);
  const count = bytes.length / (IDENTITY_BYTES + EFFECT_BYTES);
  if (!Number.isInteger(count) || count === 0 || count > ENTRIES_IN_ROW) throw damagedRow(key);
  const effectsAt = count * IDENTITY_BYTES;
  return {
    first: rowTxId(key),
    count,
    identities: bytes.subarray(0, effectsAt),
    effects: bytes.subarray(effectsAt),
  };
}
