import { CairnError, Deadline, TIMED_OUT, withTimeout } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import type { ReadOptions } from "../api/node-api.ts";
import type { AsOf } from "../index/read/documents.ts";
import { isoTime } from "@cairn/text";
import type { IndexStore } from "../index/index-store.ts";
import type { NodeLife } from "./node-life.ts";

export interface ReadableLife extends Pick<
  NodeLife,
  "phase" | "agrees" | "failure" | "position" | "log" | "services" | "index"
> {
  readonly ownIndexes?: NodeLife["ownIndexes"];
  readonly attachment?: Pick<NodeLife["attachment"], "floor">;
  /** The error of a read that needs what comes after the index, if nothing ever will. */
  readonly ending?: CairnError;
  /** Reports an error in the use of `index`, and returns the one that the caller throws. */
  suspect(index: IndexStore, error: unknown): unknown;
}

export class ReadPlace {
  readonly #life: ReadableLife;
  readonly #barrier: (timeoutMs: number) => Promise<TxId>;

  /** `barrier` returns the transaction for which a linearizable read must wait (see NodeAppends). */
  constructor(life: ReadableLife, barrier: (timeoutMs: number) => Promise<TxId>) {
    this.#life = life;
    this.#barrier = barrier;
  }

  /**
   * Waits until the index contains everything that a read with these options must include. Throws `TX_TIMEOUT` after
   * `timeoutMs`. Throws `REQUEST_INVALID` if the options contradict each other, or as soon as the log confirms that
   * `asOf` is in the future. Throws `LOG_READ_ONLY` if the log is a backup that may not cover `asOf` yet.
   */
  async reached(options: ReadOptions & { asOf?: AsOf }): Promise<void> {
    const { minTx = 0, timeoutMs = LIMITS.waitMs, stale = false, linearizable = false, asOf } = options;
    const limit = new Deadline(timeoutMs);
    if (linearizable && stale) {
      throw new CairnError(
        "REQUEST_INVALID",
        "A read cannot be both linearizable and stale.",
        "Omit stale=true to read everything that was acknowledged before, or omit linearizable=true to read the node's current state.",
      );
    }
    const latest = linearizable ? await this.#barrier(timeoutMs) : undefined;
    const asked = asOf === undefined ? 0 : await this.#lastBy(asOf, limit, { stale, latest, minTx });
    await this.#life.position.reached(Math.max(minTx, asked, latest ?? 0), limit.leftMs);
  }

  /**
   * Returns the last transaction that a read as of `asOf` needs: the log's last one if the index ends earlier in time,
   * because the result could change with the transactions that this node does not have yet.
   */
  async #lastBy(
    asOf: AsOf,
    limit: Deadline,
    { stale, latest, minTx }: { stale: boolean; latest: TxId | undefined; minTx: TxId },
  ): Promise<TxId> {
    if ("txId" in asOf) {
      // The node waits for `minTx` even if the log does not seem to contain it, because the responding server may lag
      // behind.
      const { txId } = asOf;
      if (txId <= Math.max(minTx, this.#life.position.txId)) return txId;
      const end = latest ?? (await this.#end(limit.leftMs)) ?? txId;
      if (txId <= end) return txId;
      throw new CairnError(
        "REQUEST_INVALID",
        `Transaction ${txId} does not exist yet: the log ends at ${end}.`,
        `Use transaction ${end} or an earlier one. To wait up to 5 seconds for ${txId}, read with minTx ${txId} and timeoutMs 5000 (over HTTP, min-tx=${txId} and timeout=PT5S).`,
      );
    }
    if (stale) return 0;
    if (latest !== undefined) return latest;
    const { log, index, ending } = this.#life;
    if (index === undefined || Date.parse(asOf.time) < index.state.time) return 0;
    if (ending !== undefined) throw ending;
    if (log === undefined) return 0;
    if (log.backup !== undefined) {
      // The backup may not cover the time yet.
      throw new CairnError(
        "LOG_READ_ONLY",
        `The state as of ${asOf.time} is not known yet: this node reads its log from a backup whose newest transaction is of ${isoTime(index.state.time)}.`,
        "Use an earlier time or a transaction id, use a node that has access to the log itself, or read the node's current state with stale=true.",
      );
    }
    const bounds = await withTimeout(log.bounds(), limit.leftMs);
    if (bounds === TIMED_OUT) {
      throw new CairnError(
        "TX_TIMEOUT",
        `The log did not report its transactions up to the requested time within ${limit.limitMs} ms.`,
        "Use a transaction id instead of the time, or read the node's current state with stale=true.",
      );
    }
    return bounds.last + index.state.log.offset;
  }

  /** Undefined if it is not known in time, or never, because a backup may end before its log. */
  async #end(timeoutMs: number): Promise<TxId | undefined> {
    const { log, index } = this.#life;
    if (log === undefined || log.backup !== undefined || index === undefined) return undefined;
    const bounds = await withTimeout(log.bounds(), timeoutMs, null).catch(() => null);
    return bounds === null ? undefined : bounds.last + index.state.log.offset;
  }
}
