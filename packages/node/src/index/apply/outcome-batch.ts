import type { KvOperation } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { encodeShared, isLastInRow, OUTCOMES_IN_ROW } from "../rows/outcome-rows.ts";

/** The outcome of a transaction as it is in a row of its own. */
interface OwnRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** The rows of a batch's outcomes (rows/outcome-rows.ts). */
export class OutcomeBatch {
  readonly #rows: KvOperation[] = [];
  /** The rows that may yet be replaced by a shared one. */
  #open: OwnRow[] = [];

  /** Adds the outcome of the next transaction, as it is in a row of its own. */
  add(txId: TxId, key: Uint8Array, value: Uint8Array): void {
    this.#open.push({ key, value });
    if (!isLastInRow(txId)) return;
    // If a part of the outcomes is in the store already, moving them would cost more than the shared row saves.
    const isWhole = this.#open.length === OUTCOMES_IN_ROW;
    const shared = isWhole
      ? encodeShared(
          key,
          this.#open.map((row) => row.value),
        )
      : undefined;
    if (shared !== undefined) this.#rows.push({ type: "put", key, value: shared });
    else this.#addOwn();
    this.#open = [];
  }

  rows(): readonly KvOperation[] {
    this.#addOwn();
    return this.#rows;
  }

  #addOwn(): void {
    for (const { key, value } of this.#open) this.#rows.push({ type: "put", key, value });
    this.#open = [];
  }
}
