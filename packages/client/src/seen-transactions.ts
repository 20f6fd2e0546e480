import { type CallName, checkedOptions } from "./call-options.ts";
import { hasCode } from "./types/client-error.ts";
import type { ClientReadOptions } from "./types/client-types.ts";
import type { TxId } from "./types/transaction.ts";

/** What a client wrote or saw, which its reads include. */
export class SeenTransactions {
  last: TxId = 0;
  readonly #readsWait: boolean;

  constructor(readsWait: boolean) {
    this.#readsWait = readsWait;
  }

  saw(txId: TxId): void {
    if (txId > this.last) this.last = txId;
  }

  noted<T extends { readonly txId: TxId }>(found: T): T {
    this.saw(found.txId);
    return found;
  }

  /**
   * Reads what the client wrote or saw, or something later. If the log has lost the end that it saw, the read fails, and
   * later ones do not wait for what is lost.
   */
  async read<Options extends ClientReadOptions, T>(
    call: CallName,
    options: Options,
    read: (reading: Options) => Promise<T>,
  ): Promise<T> {
    checkedOptions(call, options);
    const minTx = this.last;
    if (options.minTx !== undefined || !this.#readsWait || minTx === 0) return await read(options);
    try {
      return await read({ ...options, minTx });
    } catch (error) {
      const end = hasCode(error, "TX_TIMEOUT") ? error.details.lastTxId : undefined;
      if (end !== undefined && end < minTx && this.last === minTx) this.last = end;
      throw error;
    }
  }
}
