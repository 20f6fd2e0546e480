import type { KvOperation, KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexState } from "../rows/index-state.ts";
import { encodeShared, lastInRow, OUTCOMES_IN_ROW } from "../rows/outcome-rows.ts";
import { transactionRowKey } from "../rows/row-keys.ts";
import { unusableIndex } from "../rows/unusable-index.ts";

/** The outcome of a transaction as it is in a row of its own. */
interface OwnRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Whether the store contains the row. */
  readonly isStored: boolean;
}

/** The rows of a batch's outcomes (rows/outcome-rows.ts). */
export class OutcomeBatch {
  /** The rows after the last shared one, up to the last outcome. */
  #open: OwnRow[];
  readonly #rows: KvOperation[] = [];

  private constructor(open: OwnRow[]) {
    this.#open = open;
  }

  /** Reads the rows that a batch of `count` messages replaces by a shared one. */
  static async load(reader: KvReader, { txId, log }: IndexState, count: number): Promise<OutcomeBatch> {
    const open: OwnRow[] = [];
    const last = lastInRow(txId);
    if (last === txId || txId + count < last) return new OutcomeBatch(open);
    const first = last - OUTCOMES_IN_ROW + 1;
    const range = { gte: transactionRowKey(first), lte: transactionRowKey(txId) };
    for await (const rows of reader.range(range)) {
      for (const [key, value] of rows) open.push({ key, value, isStored: true });
    }
    // A log that continues another one may begin within a shared row.
    const missing = txId - first + 1 - open.length;
    if (missing > 0 && first + missing !== log.offset + 1) {
      throw unusableIndex(`the outcome of a transaction from ${first} to ${txId} is missing`);
    }
    return new OutcomeBatch(open);
  }

  /** Adds the outcome of the next transaction, as it is in a row of its own. */
  add(txId: TxId, key: Uint8Array, value: Uint8Array): void {
    this.#open.push({ key, value, isStored: false });
    if (txId % OUTCOMES_IN_ROW === 0) this.#share(key);
  }

  /** Returns the rows to write and to delete. */
  rows(): readonly KvOperation[] {
    this.#addOwn();
    return this.#rows;
  }

  /** Replaces the open rows by a shared one. */
  #share(key: Uint8Array): void {
    const value = encodeShared(
      key,
      this.#open.map((row) => row.value),
    );
    if (value === undefined) {
      this.#addOwn();
      return;
    }
    for (const row of this.#open) if (row.isStored) this.#rows.push({ type: "del", key: row.key });
    this.#rows.push({ type: "put", key, value });
    this.#open = [];
  }

  /** Keeps the open rows. */
  #addOwn(): void {
    for (const { key, value, isStored } of this.#open) {
      if (!isStored) this.#rows.push({ type: "put", key, value });
    }
    this.#open = [];
  }
}
