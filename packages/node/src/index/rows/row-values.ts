import { isAscii } from "node:buffer";
import type { TxId } from "@cairn/client";
import { damagedRow, seal, sealable, sealed, SUM_BYTES, unsealed } from "./row-checksum.ts";
import { readId, writeId } from "./row-keys.ts";

/* Each value here begins with a checksum over the row's key and itself, which is compared whenever it is read (row-checksum.ts). */

/** A number alone, as a row's value. */
export function encodeNumber(key: Uint8Array, number: number): Buffer {
  return sealed(key, numbers(number));
}

/** The number that is a row's value. */
export function decodeNumber(key: Uint8Array, value: Uint8Array): number {
  return readId(unsealed(key, value), 0);
}

/** UTF-8, which nearly always is ASCII: copying that takes a tenth of what decoding takes. */
export function textOf(bytes: Buffer, start: number): string {
  return bytes.toString(isAscii(bytes.subarray(start)) ? "latin1" : "utf8", start);
}

/**
 * What became of a message. `duplicate`: its idempotency id and content were applied before, by the transaction whose id is the text.
 * The text of `committed` is its operations as in the log, of `aborted` the reason.
 */
export type OutcomeKind = "committed" | "aborted" | "duplicate";

/** Their places are what rows hold: another order is another index version. */
const OUTCOMES: readonly OutcomeKind[] = ["committed", "aborted", "duplicate"];

/** A transaction row's value: kind, time, text. */
export function encodeOutcome(key: Uint8Array, time: number, kind: OutcomeKind, text: Uint8Array): Buffer {
  const value = sealable(9 + text.length);
  value[SUM_BYTES] = OUTCOMES.indexOf(kind);
  writeId(value, SUM_BYTES + 1, time);
  value.set(text, SUM_BYTES + 9);
  return seal(key, value);
}

/** What a transaction row says. */
export interface Outcome {
  readonly time: number;
  readonly kind: OutcomeKind;
  readonly text: string;
}

/** A transaction row's value, read. */
export function decodeOutcome(key: Uint8Array, value: Uint8Array): Outcome {
  const bytes = unsealed(key, value);
  const kind = OUTCOMES[bytes[0] ?? OUTCOMES.length];
  if (kind === undefined) throw damagedRow(key);
  return { time: readId(bytes, 1), kind, text: textOf(bytes, 9) };
}

/** An operation as a committed transaction's row has it: without its document. */
export type OutcomeOperation = readonly [op: string, bucket: string, key: string];

/** The operations of a transaction that committed; none for any other, nor for a birth record or a barrier. */
export function outcomeOperations({ kind, text }: Outcome): readonly OutcomeOperation[] {
  if (kind !== "committed" || text === "") return NO_OPERATIONS;
  return (JSON.parse(text) as { readonly ops: readonly OutcomeOperation[] }).ops;
}

const NO_OPERATIONS: readonly OutcomeOperation[] = [];

/** An idempotency row's value: the transaction that was applied, and its content's hash. */
export function encodeSubmission(key: Uint8Array, txId: TxId, contentHash: Uint8Array): Buffer {
  const value = sealable(8 + contentHash.length);
  writeId(value, SUM_BYTES, txId);
  value.set(contentHash, SUM_BYTES + 8);
  return seal(key, value);
}

/** An idempotency row's value, read. */
export function decodeSubmission(
  key: Uint8Array,
  value: Uint8Array,
): { txId: TxId; contentHash: Uint8Array } {
  const bytes = unsealed(key, value);
  return { txId: readId(bytes, 0), contentHash: bytes.subarray(8) };
}

/** A bucket's counters. */
export interface BucketCounters {
  readonly documents: number;
  /** Keys whose last write was a deletion. */
  readonly tombstones: number;
  /** Versions that were superseded before this transaction may be gone. */
  readonly floor: TxId;
  /** Keys whose last write, a deletion, was before this transaction may be gone altogether. */
  readonly gone: TxId;
}

/** A counter row's value. */
export function encodeCounters(
  key: Uint8Array,
  { documents, tombstones, floor, gone }: BucketCounters,
): Buffer {
  const isWhole = floor === 0 && gone === 0;
  return sealed(key, isWhole ? numbers(documents, tombstones) : numbers(documents, tombstones, floor, gone));
}

/** A counter row's value, read. */
export function decodeCounters(key: Uint8Array, value: Uint8Array): BucketCounters {
  const bytes = unsealed(key, value);
  const head = { documents: readId(bytes, 0), tombstones: readId(bytes, 8) };
  return bytes.length === 16
    ? { ...head, floor: 0, gone: 0 }
    : { ...head, floor: readId(bytes, 16), gone: readId(bytes, 24) };
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(8 * values.length);
  for (const [index, value] of values.entries()) writeId(bytes, 8 * index, value);
  return bytes;
}
