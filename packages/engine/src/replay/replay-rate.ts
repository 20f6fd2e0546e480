import type { TxId } from "@cairn/client";

/**
 * The rate until a replay is measured (transactions/ms): less than half of what the benchmark measures on two cores.
 */
const DEFAULT_PER_MS = 50;
/** In a shorter replay, the log's first response takes most of the time. */
const MIN_MEASURED_TRANSACTIONS = 10_000;

export class ReplayRate {
  #perMs = DEFAULT_PER_MS;
  #from: { readonly txId: TxId; readonly at: number } | undefined;

  begun(txId: TxId): void {
    this.#from = { txId, at: performance.now() };
  }

  ended(txId: TxId): void {
    if (this.#from === undefined || txId - this.#from.txId < MIN_MEASURED_TRANSACTIONS) return;
    this.#perMs = (txId - this.#from.txId) / Math.max(1, performance.now() - this.#from.at);
  }

  timeFor(transactions: number): number {
    return transactions / this.#perMs;
  }
}
