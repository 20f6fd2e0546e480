import { type CallName, checkedOptions } from "./call-options.ts";
import type { NodeAccess } from "./node-access.ts";
import { hasCode } from "./types/client-error.ts";
import type { ClientReadOptions, WaitOptions } from "./types/client-types.ts";
import { timeoutSignal } from "./types/timing.ts";
import type { TxId } from "./types/transaction.ts";

/** How long a read waits for the end of the log, at most (ms). */
const END_MS = 5_000;

/** What a client wrote or saw, which its reads include. */
export class SeenTransactions {
  last: TxId = 0;
  /** Whether a read has waited in vain for `last`, which the log may have lost. */
  #isDoubted = false;
  /** The last transaction that was seen since the end of the log was asked for. */
  #since: TxId = 0;
  readonly #access: Pick<NodeAccess, "buckets" | "page">;
  readonly #readsWait: boolean;

  constructor(access: Pick<NodeAccess, "buckets" | "page">, readsWait: boolean) {
    this.#access = access;
    this.#readsWait = readsWait;
  }

  saw(txId: TxId): void {
    if (txId > this.last) this.last = txId;
    if (txId > this.#since) this.#since = txId;
  }

  noted<T extends { readonly txId: TxId }>(found: T): T {
    this.saw(found.txId);
    return found;
  }

  /**
   * Reads what the client wrote or saw, or something later. If a read has waited for that in vain, the next one first
   * asks for the end of the log, and does not wait for what the log has lost. `bucket` is what the read concerns.
   */
  async read<Options extends ClientReadOptions, T>(
    call: CallName,
    bucket: string | undefined,
    options: Options,
    read: (reading: Options) => Promise<T>,
  ): Promise<T> {
    checkedOptions(call, options);
    if (options.minTx !== undefined || !this.#readsWait) return await read(options);
    if (this.#isDoubted) await this.#askEnd(bucket, options);
    if (this.last === 0) return await read(options);
    try {
      return await read({ ...options, minTx: this.last });
    } catch (error) {
      if (hasCode(error, "TX_TIMEOUT")) this.#isDoubted = true;
      throw error;
    }
  }

  /**
   * A linearizable read shows where the log ends. What a node that lags, a server that is cut off, or a backup knows of
   * it proves nothing. If none is possible now, reads go on waiting.
   */
  async #askEnd(bucket: string | undefined, { timeoutMs = END_MS, signal }: WaitOptions): Promise<void> {
    const limitMs = Math.min(timeoutMs, END_MS);
    const inTime = timeoutSignal(limitMs);
    const asked = {
      linearizable: true,
      timeoutMs: limitMs,
      signal: signal === undefined ? inTime : AbortSignal.any([inTime, signal]),
    };
    const seen = this.last;
    this.#since = 0;
    try {
      const { txId } = await (bucket === undefined
        ? this.#access.buckets(asked)
        : this.#access.page(bucket, { ...asked, pageSize: 1 }, undefined));
      this.#isDoubted = false;
      if (txId < seen) this.last = Math.max(txId, this.#since);
    } catch {
      signal?.throwIfAborted();
    }
  }
}
