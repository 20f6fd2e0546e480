import type { Manifest } from "../store/checkpoint.ts";

/**
 * Tells which checkpoints of a log are of a history that it has lost, also where it was trimmed since and does not hold what would tell
 * any more: each checkpoint says what its own history is where older ones end. To be asked about the newest first.
 */
export class OtherHistories {
  /** The history chain of those that count, by transaction. */
  readonly #known = new Map<number, string>();

  /** Whether a checkpoint's history is another one than that of a newer one that counts. */
  contradict({ chains = [] }: Pick<Manifest, "chains">): boolean {
    return chains.some(({ txId, history }) => (this.#known.get(txId) ?? history) !== history);
  }

  /** Has a checkpoint count: it agrees with the log, as far as that tells, and with what counts already. */
  trust({ chains = [] }: Pick<Manifest, "chains">): void {
    for (const { txId, history } of chains) this.#known.set(txId, history);
  }
}
