import { CairnError, isCairnError, systemClock, unlessFailed } from "@cairn/kv";
import { isoTime } from "@cairn/text";
import type { LogHistory } from "../backup/log-with-backup.ts";
import { isUnused, type LogIdentity } from "../log/log-identity.ts";
import { beginningOf } from "../replay/fold-log.ts";

/** The errors of a store that may hold a checkpoint, but cannot be read now. */
const UNREADABLE: ReadonlySet<string> = new Set(["STORE_UNREACHABLE", "STORE_DENIED"]);

/** The wait of a node without an index for a store that cannot be read, across all its attempts to join. */
export class StoreWait {
  readonly #limitMs: number;
  #begun: { readonly at: number; readonly mark: number } | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** The time until the wait has been long enough (ms); Infinity if there is none, or it has been. */
  get leftMs(): number {
    const leftMs = this.#begun === undefined ? 0 : this.#begun.mark + this.#limitMs - performance.now();
    return leftMs > 0 ? Math.ceil(leftMs) : Infinity;
  }

  /** The node has joined: the next wait is another one. */
  end(): void {
    this.#begun = undefined;
  }

  /**
   * Returns if the wait for a store has been long enough, and the log is complete without it, so that the node can build
   * its index from the log alone. Otherwise, throws `error`; if it is that of a store, with what the node waits for.
   */
  async ended(error: unknown, log: LogHistory, identity: LogIdentity): Promise<void> {
    if (!isCairnError(error) || !UNREADABLE.has(error.code)) throw error;
    this.#begun ??= { at: systemClock.now(), mark: performance.now() };
    const { at, mark } = this.#begun;
    // An unused log may have been begun by a node with a wrong address: only the stores could show that.
    const mayBeComplete = identity.bounds.first <= 1 && !isUnused(identity);
    const isComplete =
      mayBeComplete && (await unlessFailed(beginningOf(log, identity), "any", undefined)) !== undefined;
    if (isComplete && performance.now() - mark >= this.#limitMs) return;
    const what = isComplete
      ? `At ${isoTime(at + this.#limitMs)}, the node stops waiting, and builds its index from the log, which is complete (wait-for-store).`
      : "The node waits as long as necessary, because the log without the store is not complete.";
    const hint = `${error.hint ?? ""} The node has waited for a checkpoint in this store since ${isoTime(at)}. ${what}`;
    throw new CairnError(error.code, error.message, { hint: hint.trim(), cause: error.cause });
  }
}
