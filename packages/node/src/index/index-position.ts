import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";

interface Waiter {
  readonly txId: TxId;
  readonly resolve: () => void;
  readonly reject: (error: CairnError) => void;
}

/** How far the index is, for those who wait until it holds a transaction. Goes back when an index is built anew. */
export class IndexPosition {
  #txId: TxId = 0;
  readonly #waiters = new Set<Waiter>();
  #failed: CairnError | undefined;

  get txId(): TxId {
    return this.#txId;
  }

  /** The index now holds everything up to `txId`. */
  set(txId: TxId): void {
    this.#txId = txId;
    for (const waiter of this.#waiters) {
      if (waiter.txId > txId) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /** Resolves when the index holds `txId`; `TX_TIMEOUT` after `timeoutMs`. */
  async reached(txId: TxId, timeoutMs: number): Promise<void> {
    if (txId <= this.#txId) return;
    if (this.#failed !== undefined) throw this.#failed;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      const waiter = { txId, resolve, reject };
      this.#waiters.add(waiter);
      timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(
          new CairnError(
            "TX_TIMEOUT",
            `Transaction ${txId} was not indexed within ${timeoutMs} ms; this node is at ${this.#txId}.`,
            {
              hint: "It is not lost if the log answered for it: ask again, with timeout=PT5S for how long to wait, or see how far the node is (cairn status, GET /status).",
            },
          ),
        );
      }, timeoutMs);
    }).finally(() => clearTimeout(timer));
  }

  /** Ends all waiting with an error, also what begins later, because the node stops. */
  fail(error: CairnError): void {
    this.#failed = error;
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }
}
