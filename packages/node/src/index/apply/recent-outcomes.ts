import type { TxId, TxOutcome } from "@cairn/client";
import { isoTime } from "../../text/iso-time.ts";

/** The outcome of a transaction when it was applied. */
export interface AppliedTransaction {
  readonly txId: TxId;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Why it was aborted; undefined for one that committed. */
  readonly reason: string | undefined;
  /** How many of the keys that it put, deleted or evicted had a document before. */
  readonly replaced: number;
}

/** The answer to a commit. `replaced` is undefined when the outcome was read from the index, whose rows do not contain it. */
export interface CommitResult {
  readonly outcome: TxOutcome;
  readonly replaced: number | undefined;
}

/** More than one read of the log delivers, so that callers waiting for a transaction still find it once it is applied. */
const REMEMBERED_OUTCOMES = 1_024;

/**
 * The outcomes of the newest transactions, for callers that wait for them. A ring buffer, in which a transaction overwrites the one
 * `REMEMBERED_OUTCOMES` before it. Belongs to one open index, so that no outcome outlives the history it is part of.
 */
export class RecentOutcomes {
  readonly #ring: (AppliedTransaction | undefined)[] = Array.from({ length: REMEMBERED_OUTCOMES });

  add(applied: readonly AppliedTransaction[]): void {
    for (const one of applied) this.#ring[one.txId % REMEMBERED_OUTCOMES] = one;
  }

  /** Undefined for a transaction that is not among the newest, or that repeats an earlier one. */
  get(txId: TxId): CommitResult | undefined {
    const found = this.#ring[txId % REMEMBERED_OUTCOMES];
    if (found?.txId !== txId) return undefined;
    const { time, reason, replaced } = found;
    const outcome = { txId, txTime: isoTime(time), committed: reason === undefined };
    return { outcome: reason === undefined ? outcome : { ...outcome, reason }, replaced };
  }
}
