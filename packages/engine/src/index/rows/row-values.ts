import { isAscii } from "node:buffer";
import type { TxId } from "@cairn/client";
import { damagedRow, seal, sealable, sealedJson, SUM_BYTES, unsealed, unsealedJson } from "./row-checksum.ts";
import { readId, writeId } from "./row-keys.ts";
import { MARK_BYTES } from "./chain-rows.ts";

/** Each value begins with a checksum over the row's key and the rest, which every read compares (row-checksum.ts). */

export function encodeNumber(key: Uint8Array, number: number): Buffer {
  const value = sealable(8);
  writeId(value, SUM_BYTES, number);
  return seal(key, value);
}

export function decodeNumber(key: Uint8Array, value: Uint8Array): number {
  return readId(unsealed(key, value), 0);
}

/** Decodes UTF-8. The bytes are nearly always ASCII, which is copied in a tenth of the time that decoding takes. */
export function textOf(bytes: Buffer, start: number): string {
  return bytes.toString(isAscii(bytes.subarray(start)) ? "latin1" : "utf8", start);
}

/**
 * The outcome of a message. `duplicate` means that the idempotency id and the content were applied before, by the
 * transaction whose id is the outcome's text. The text of `committed` contains the operations as in the log, and the
 * text of `aborted` is the reason.
 */
export type OutcomeKind = "committed" | "aborted" | "duplicate";

/** Rows contain an index into this list, so a different order would require another index version. */
const OUTCOMES: readonly OutcomeKind[] = ["committed", "aborted", "duplicate"];

const TEXT_AT = 9 + MARK_BYTES;

/** Encodes a transaction row's value: kind, time, mark (`messageMark`), text. */
export function encodeOutcome(
  key: Uint8Array,
  { time, mark }: { readonly time: number; readonly mark: Uint8Array },
  kind: OutcomeKind,
  text: Uint8Array,
): Buffer {
  const value = sealable(TEXT_AT + text.length);
  value[SUM_BYTES] = OUTCOMES.indexOf(kind);
  writeId(value, SUM_BYTES + 1, time);
  value.set(mark, SUM_BYTES + 9);
  value.set(text, SUM_BYTES + TEXT_AT);
  return seal(key, value);
}

/** The contents of a transaction row. `shards` contains the shards of enqueued entries, if there are any. */
export interface Outcome {
  readonly time: number;
  /** The mark of the message, in hex. */
  readonly mark: string;
  readonly kind: OutcomeKind;
  readonly text: string;
  readonly shards: readonly number[] | undefined;
}

/** Returns the text of a committed transaction: its line of operations and, if it enqueued entries, their shards. */
export function committedText(header: Buffer, shards: readonly number[]): Buffer {
  return shards.length === 0 ? header : Buffer.concat([header, Buffer.from(`\n${JSON.stringify(shards)}`)]);
}

export function decodeOutcome(key: Uint8Array, value: Uint8Array): Outcome {
  const bytes = unsealed(key, value);
  const kind = OUTCOMES[bytes[0] ?? OUTCOMES.length];
  if (kind === undefined) throw damagedRow(key);
  const time = readId(bytes, 1);
  const mark = bytes.toString("hex", 9, TEXT_AT);
  const text = textOf(bytes, TEXT_AT);
  // The line of operations of a message cannot contain a line break.
  const end = kind === "committed" ? text.indexOf("\n") : -1;
  if (end < 0) return { time, mark, kind, text, shards: undefined };
  return { time, mark, kind, text: text.slice(0, end), shards: JSON.parse(text.slice(end + 1)) as number[] };
}

/** The row does not contain the document. `from` is the key from which the put of an entry moved it. */
export type OutcomeOperation = readonly [
  op: string,
  bucket: string,
  key: string,
  options?: { readonly from?: string } | null,
];

/**
 * Returns the operations of a committed transaction; none for a birth record, a barrier or any other outcome. Entries
 * that were enqueued or moved are returned as the puts and deletes that this amounted to.
 */
export function outcomeOperations({ kind, text, shards }: Outcome): readonly OutcomeOperation[] {
  if (kind !== "committed" || text === "") return NO_OPERATIONS;
  const { ops } = JSON.parse(text) as { readonly ops: readonly (OutcomeOperation | Moved)[] };
  if (shards === undefined && !ops.some(([op]) => op === "move")) return ops as readonly OutcomeOperation[];
  let enqueued = 0;
  return ops.flatMap((operation): OutcomeOperation[] => {
    const [op, queue, key, toShard] = operation;
    if (op === "enqueue") return [["put", queue, `${shards?.[enqueued++]}/${key}`]];
    if (op !== "move") return [[op, queue, key]];
    const name = key.slice(key.indexOf("/"));
    return [
      ["delete", queue, key],
      ["put", queue, `${toShard}${name}`, { from: key }],
    ];
  });
}

type Moved = readonly [op: "move", queue: string, key: string, toShard: number];

const NO_OPERATIONS: readonly OutcomeOperation[] = [];

export function encodeSubmission(key: Uint8Array, txId: TxId, contentHash: Uint8Array): Buffer {
  const value = sealable(8 + contentHash.length);
  writeId(value, SUM_BYTES, txId);
  value.set(contentHash, SUM_BYTES + 8);
  return seal(key, value);
}

export function decodeSubmission(
  key: Uint8Array,
  value: Uint8Array,
): { txId: TxId; contentHash: Uint8Array } {
  const bytes = unsealed(key, value);
  return { txId: readId(bytes, 0), contentHash: bytes.subarray(8) };
}

export interface BucketCounters {
  readonly documents: number;
  /** The number of keys whose last write was a deletion. */
  readonly tombstones: number;
  /** Versions superseded at or before this transaction may have been removed. */
  readonly floor: TxId;
  /** Keys that were deleted at or before this transaction may have been removed entirely. */
  readonly gone: TxId;
}

export function encodeCounters(
  key: Uint8Array,
  { documents, tombstones, floor, gone }: BucketCounters,
): Buffer {
  return sealedJson(key, [documents, tombstones, floor, gone]);
}

export function decodeCounters(key: Uint8Array, value: Uint8Array): BucketCounters {
  const [documents, tombstones, floor, gone] = unsealedJson<[number, number, TxId, TxId]>(key, value);
  return { documents, tombstones, floor, gone };
}
