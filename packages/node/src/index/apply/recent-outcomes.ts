import type { TxId, TxOutcome } from "@cairn/client";
import { isoTime } from "../../text/iso-time.ts";

/** What became of a transaction when it was applied. */
export interface AppliedTransaction {
  readonly txId: TxId;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Why it was aborted; undefined for one that committed. */
  readonly reason: string | undefined;
  /** How many of the keys that it put, deleted or evicted had a document before. */
  readonly replaced: number;
}

/** An outcome as it is answered. `replaced` is undefined where the outcome was read from the index, whose rows do not have it. */
export interface CommitResult {
  readonly outcome: TxOutcome;
  readonly replaced: number | undefined;
}

/** More than one read of the log holds, so that callers who wait for a transaction find it here once it is applied. */
const REMEMBERED_OUTCOMES = 1_024;

/**
 * The outcomes of the transactions that were applied last, for callers who wait for them. A ring: a later transaction overwrites the one
 * that is `REMEMBERED_OUTCOMES` before it. It belongs to one open index, so that no outcome outlives the history it was part of.
 */
export class RecentOutcomes {
  readonly #ring: (AppliedTransaction | undefined)[] = Array.from({ length: REMEMBERED_OUTCOMES });

  add(applied: readonly AppliedTransaction[]): void {
    for (const one of applied) this.#ring[one.txId % REMEMBERED_OUTCOMES] = one;
  }

  /** Undefined where it is not among the last ones, or repeats an earlier transaction, whose outcome is then the answer. */
  get(txId: TxId): CommitResult | undefined {
    const found = this.#ring[txId % REMEMBERED_OUTCOMES];
    if (found?.txId !== txId) return undefined;
    const { time, reason, replaced } = found;
    const outcome = { txId, txTime: isoTime(time), committed: reason === undefined };
    return { outcome: reason === undefined ? outcome : { ...outcome, reason }, replaced };
  }
}
