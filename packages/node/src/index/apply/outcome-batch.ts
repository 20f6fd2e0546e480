import type { KvOperation, KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexState } from "../rows/index-state.ts";
import {
  EMPTY_SHARED_BYTES,
  encodeShared,
  lastInRow,
  MAX_SHARED_BYTES,
  OUTCOMES_IN_ROW,
  sharedBytes,
} from "../rows/outcome-rows.ts";
import { transactionRowKey } from "../rows/row-keys.ts";
import { unusableIndex } from "../rows/unusable-index.ts";

/** The outcome of a transaction as it is in a row of its own. */
interface OwnRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Whether the store contains the row. */
  readonly isStored: boolean;
}

/** The outcomes that are to share a row with those of the transactions after `txId`. */
export interface OpenOutcomes {
  readonly txId: TxId;
  readonly rows: readonly OwnRow[];
  /** The size of the shared row so far. If it is too large, `rows` is empty, and no row will be shared. */
  readonly bytes: number;
}

/** The rows of a batch's outcomes (rows/outcome-rows.ts). */
export class OutcomeBatch {
  #open: OwnRow[];
  #bytes: number;
  readonly #rows: KvOperation[] = [];

  private constructor({ rows, bytes }: OpenOutcomes) {
    this.#open = [...rows];
    this.#bytes = bytes;
  }

  /** Begins a batch. `known` is the result of {@link known} after the preceding one; without it, the rows are read. */
  static async load(reader: KvReader, before: IndexState, known?: OpenOutcomes): Promise<OutcomeBatch> {
    return new OutcomeBatch(known?.txId === before.txId ? known : await readOpen(reader, before));
  }

  /** Adds the outcome of the next transaction, as it is in a row of its own. */
  add(txId: TxId, key: Uint8Array, value: Uint8Array): void {
    this.#bytes += sharedBytes(value);
    this.#open.push({ key, value, isStored: false });
    if (this.#bytes > MAX_SHARED_BYTES) {
      this.#rows.push(...ownRows(this.#open));
      this.#open = [];
    }
    if (txId % OUTCOMES_IN_ROW !== 0) return;
    if (this.#open.length > 0) this.#share(key);
    this.#open = [];
    this.#bytes = EMPTY_SHARED_BYTES;
  }

  /** Returns the rows to write and to delete. */
  rows(): readonly KvOperation[] {
    return [...this.#rows, ...ownRows(this.#open)];
  }

  /** Returns what the next batch needs, once the rows of this one are written. `txId` is its last transaction. */
  known(txId: TxId): OpenOutcomes {
    return { txId, rows: this.#open.map((row) => ({ ...row, isStored: true })), bytes: this.#bytes };
  }

  /** Replaces the open rows by a shared one. */
  #share(key: Uint8Array): void {
    const values: Uint8Array[] = [];
    for (const row of this.#open) {
      values.push(row.value);
      if (row.isStored) this.#rows.push({ type: "del", key: row.key });
    }
    this.#rows.push({ type: "put", key, value: encodeShared(key, values) });
  }
}

/** Returns the writes of the rows that the store does not contain. */
function ownRows(open: readonly OwnRow[]): KvOperation[] {
  return open.flatMap(({ key, value, isStored }) => (isStored ? [] : [{ type: "put", key, value } as const]));
}

async function readOpen(reader: KvReader, { txId, log }: IndexState): Promise<OpenOutcomes> {
  const open: OwnRow[] = [];
  let bytes = EMPTY_SHARED_BYTES;
  const last = lastInRow(txId);
  if (last === txId) return { txId, rows: open, bytes };
  const first = last - OUTCOMES_IN_ROW + 1;
  const range = { gte: transactionRowKey(first), lte: transactionRowKey(txId) };
  for await (const rows of reader.range(range)) {
    for (const [key, value] of rows) {
      bytes += sharedBytes(value);
      if (bytes > MAX_SHARED_BYTES) return { txId, rows: [], bytes };
      open.push({ key, value, isStored: true });
    }
  }
  // A log that continues another one may begin within a shared row.
  const missing = txId - first + 1 - open.length;
  if (missing > 0 && first + missing !== log.offset + 1) {
    throw unusableIndex(`the outcome of a transaction from ${first} to ${txId} is missing`);
  }
  return { txId, rows: open, bytes };
}
