import type { TxId } from "@cairn/client";
import { ROW, rowsOfKind, rowTxId } from "./row-keys.ts";
import { damagedRow, sealed, unsealed } from "./row-checksum.ts";

/** Of SHA-256. */
export const CHAIN_BYTES = 32;
/** What one message adds to the history chain: its payload's mark, the last 8 bytes of it XORed with its time. */
export const IDENTITY_BYTES = 12;
/** What one message adds to the effects chain: its outcome row's checksum, and what it wrote with the documents then, 4 bytes each. */
export const EFFECT_BYTES = 8;
/** Messages in one row of entries: few, since the newest one is written with every batch. */
export const ENTRIES_IN_ROW = 32;

/** The two chains up to a transaction, as bytes. */
export interface Link {
  readonly history: Uint8Array;
  readonly effects: Uint8Array;
}

/** What consecutive messages add to the chains. */
export interface ChainEntries {
  readonly first: TxId;
  readonly identities: Uint8Array;
  readonly effects: Uint8Array;
}

/** The rows of all links, and those of all entries. */
export const ALL_LINKS = rowsOfKind(ROW.link);
export const ALL_ENTRIES = rowsOfKind(ROW.chainEntries);

/** A link row's value. */
export function encodeLink(key: Uint8Array, { history, effects }: Link): Buffer {
  return sealed(key, Buffer.concat([history, effects]));
}

/** A link row's value, read. */
export function decodeLink(key: Uint8Array, value: Uint8Array): Link {
  const bytes = unsealed(key, value);
  if (bytes.length !== 2 * CHAIN_BYTES) throw damagedRow(key);
  return { history: bytes.subarray(0, CHAIN_BYTES), effects: bytes.subarray(CHAIN_BYTES) };
}

/** A row's value: all identities, then all effects. */
export function encodeEntries(key: Uint8Array, { identities, effects }: ChainEntries): Buffer {
  return sealed(key, Buffer.concat([identities, effects]));
}

/** A row's value, read. */
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
