import { coalesced, TIMED_OUT, withTimeout } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { logOffset } from "../index/rows/index-state.ts";
import { answerOf } from "./node-status.ts";
import type { NodeLife } from "./node-life.ts";

/** How long the log may take to answer (ms). Load balancers do not wait longer for an answer either. */
const ASK_MS = 1_000;

/** How far a ready node lags behind its log: how long ago the index contained everything that the log then contained. */
export class ReadyLag {
  /** Returns the lag (ms) if it exceeds the limit. Calls that arrive in the meantime share the next look. */
  readonly beyondLimit = coalesced(async (): Promise<number | undefined> => {
    if (this.#maxMs === undefined) return undefined;
    // A node that becomes ready has caught up with its log.
    this.#currentAt ??= performance.now();
    const at = performance.now();
    const end = await this.#end();
    const reached = this.#life.position.txId;
    if (this.#awaited !== undefined && reached >= this.#awaited.end) {
      this.#currentAt = this.#awaited.at;
      this.#awaited = undefined;
    }
    if (end !== undefined && reached >= end) this.#currentAt = at;
    else if (end !== undefined) this.#awaited ??= { end, at };
    const lag = performance.now() - this.#currentAt;
    return lag > this.#maxMs ? lag : undefined;
  });
  readonly #life: NodeLife;
  readonly #maxMs: number | undefined;
  /** The last time at which the index was seen to lack nothing, by `performance.now`. */
  #currentAt: number | undefined;
  /** The oldest end of the log that the index has not been seen to have reached, and when the log had it. */
  #awaited: { readonly end: TxId; readonly at: number } | undefined;

  constructor(life: NodeLife, maxMs: number | undefined) {
    this.#life = life;
    this.#maxMs = maxMs;
  }

  /** Returns the log's last transaction; undefined if the log does not answer, or may be another one. */
  async #end(): Promise<TxId | undefined> {
    const { log, identity, index, following } = this.#life;
    if (log === undefined || identity === undefined || index === undefined) return undefined;
    if (following?.isLogAway === true || following?.logProblem !== undefined) return undefined;
    const bounds = await withTimeout(answerOf(log.bounds()), ASK_MS);
    if (bounds === TIMED_OUT || bounds === undefined || bounds instanceof Error) return undefined;
    return bounds.last + logOffset(identity, index.state);
  }
}
