import { CairnError, type CancelTimer, startTimer } from "@cairn/kv";
import type { TxId } from "@cairn/client";

/** The last transaction, for callers that wait for one. It decreases when an older index replaces this one. */
export class IndexPosition {
  txId: TxId = 0;
  readonly #waiters = new Set<{ txId: TxId; resolve: () => void; reject: (error: CairnError) => void }>();
  #failed: CairnError | undefined;

  set(txId: TxId): void {
    this.txId = txId;
    for (const waiter of this.#waiters) {
      if (waiter.txId > txId) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /** Resolves when the index holds `txId`. Throws `TX_TIMEOUT` after `timeoutMs`. */
  async reached(txId: TxId, timeoutMs: number): Promise<void> {
    if (txId <= this.txId) return;
    if (this.#failed !== undefined) throw this.#failed;
    let cancel: CancelTimer | undefined;
    await new Promise<void>((resolve, reject) => {
      const waiter = { txId, resolve, reject };
      this.#waiters.add(waiter);
      cancel = startTimer(timeoutMs, () => {
        this.#waiters.delete(waiter);
        const message = `Transaction ${txId} was not indexed in time; this node has indexed up to ${this.txId}.`;
        reject(
          new CairnError(
            "TX_TIMEOUT",
            message,
            "Try again, or compare the node's progress with the end of the log (cairn status, GET /status): a transaction beyond that end does not exist yet, or was lost with the end of the log; read without waiting for it.",
          ),
        );
      });
    }).finally(() => cancel?.());
  }

  /** Rejects all present and future waits with `error`. */
  fail(error: CairnError): void {
    this.#failed = error;
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }
}
