import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { DEFAULT_WAIT_MS, type ReadOptions } from "../api/node-api.ts";
import { Deadline, TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";
import type { AsOf } from "../index/read/documents.ts";
import type { NodeLife } from "./node-life.ts";

/** How far an index has to be for a read, and the wait until it is. */
export class ReadPlace {
  readonly #life: NodeLife;
  readonly #barrier: (timeoutMs: number) => Promise<TxId>;

  /** `barrier` answers the transaction that a linearizable read has to wait for. */
  constructor(life: NodeLife, barrier: (timeoutMs: number) => Promise<TxId>) {
    this.#life = life;
    this.#barrier = barrier;
  }

  /**
   * Resolves once the index holds what a read with these options has to include. `TX_TIMEOUT` after `timeoutMs`; `REQUEST_INVALID` for a
   * past that is still to come, at once where the log says so.
   */
  async reached(options: ReadOptions & { asOf?: AsOf }): Promise<void> {
    const { minTx = 0, timeoutMs = DEFAULT_WAIT_MS, stale = false, linearizable = false, asOf } = options;
    const limit = new Deadline(timeoutMs);
    const latest = linearizable ? await this.#latest(stale, timeoutMs) : undefined;
    const asked = asOf === undefined ? 0 : await this.#lastBy(asOf, limit, { stale, latest, minTx });
    await this.#wait(Math.max(minTx, asked, latest ?? 0), limit);
  }

  /** Who has waited for half of its time asks the log where that ends, so that the error can tell whether there is anything to wait for. */
  async #wait(txId: TxId, limit: Deadline): Promise<void> {
    const { position } = this.#life;
    try {
      return await position.reached(txId, limit.leftMs / 2);
    } catch (error) {
      if (!isCairnError(error, "TX_TIMEOUT")) throw error;
    }
    const end = this.#end(limit.leftMs);
    try {
      await position.reached(txId, limit.leftMs);
    } catch (error) {
      if (!isCairnError(error, "TX_TIMEOUT")) throw error;
      const known = await withTimeout(end, 0);
      throw late(txId, limit.limitMs, position.txId, known === TIMED_OUT ? undefined : known, error);
    }
  }

  /**
   * The last transaction that a read as of then has to know. A time after the index's last transaction may have been the log's since: what
   * this node has not got yet would be missing in an answer that is to stay the same.
   */
  async #lastBy(
    asOf: AsOf,
    limit: Deadline,
    { stale, latest, minTx }: { stale: boolean; latest: TxId | undefined; minTx: TxId },
  ): Promise<TxId> {
    if ("txId" in asOf) {
      // What the caller says that there is, is waited for: whoever answers for the log may not have heard of it yet.
      if (asOf.txId > Math.max(minTx, this.#life.position.txId))
        refuseFuture(asOf.txId, latest ?? (await this.#end(limit.leftMs)));
      return asOf.txId;
    }
    if (stale) return 0;
    if (latest !== undefined) return latest;
    const { log, index } = this.#life;
    if (log === undefined || index === undefined || Date.parse(asOf.time) < index.state.time) return 0;
    const bounds = await withTimeout(log.bounds(), limit.leftMs);
    if (bounds === TIMED_OUT) {
      throw new CairnError(
        "TX_TIMEOUT",
        `The log did not say within ${limit.limitMs} ms what it has until then.`,
        {
          hint: "Name a transaction in place of the time, or take what is there with ?stale=true.",
        },
      );
    }
    return bounds.last + index.state.log.offset;
  }

  /** What a linearizable read has to include. */
  async #latest(stale: boolean, timeoutMs: number): Promise<TxId> {
    if (!stale) return await this.#barrier(timeoutMs);
    throw new CairnError("REQUEST_INVALID", "A read is either linearizable or stale.", {
      hint: "Leave out stale=true to read what was acknowledged last, or linearizable=true to read what is there.",
    });
  }

  /** The log's last transaction; undefined where it does not say in time, or cannot be asked. */
  async #end(timeoutMs: number): Promise<TxId | undefined> {
    const { log, index } = this.#life;
    if (log === undefined || index === undefined) return undefined;
    const bounds = await withTimeout(log.bounds(), timeoutMs).catch((): typeof TIMED_OUT => TIMED_OUT);
    return bounds === TIMED_OUT ? undefined : bounds.last + index.state.log.offset;
  }
}

/** `cause`, with the whole time that was waited and, where it is known, the log's last transaction. */
function late(txId: TxId, ms: number, at: TxId, end: TxId | undefined, cause: CairnError): CairnError {
  const has = end !== undefined && end >= txId ? "the log has it and ends at" : "the log ends at";
  const ends = end === undefined ? "" : `, ${has} ${end}`;
  const message = `Transaction ${txId} was not indexed within ${ms} ms; this node is at ${at}${ends}.`;
  return new CairnError("TX_TIMEOUT", message, {
    ...(cause.hint === undefined ? {} : { hint: cause.hint }),
    cause,
  });
}

function refuseFuture(txId: TxId, end: TxId | undefined): void {
  if (end === undefined || txId <= end) return;
  throw new CairnError(
    "REQUEST_INVALID",
    `There is nothing as of transaction ${txId} yet: the log ends at ${end}.`,
    {
      hint: `Ask for transaction ${end} or an earlier one. To wait for ${txId}, say that it is to come: min-tx=${txId}, and timeout=PT5S for how long.`,
    },
  );
}
