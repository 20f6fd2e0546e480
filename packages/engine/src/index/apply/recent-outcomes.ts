import type { TxId, TxOutcome } from "@cairn/client";
import { isoTime, formatPosition } from "@cairn/text";

export interface AppliedTransaction {
  readonly txId: TxId;
  /** The transaction's time, in milliseconds since 1970. */
  readonly time: number;
  readonly mark: string;
  /** The reason why the transaction was aborted; undefined if it committed. */
  readonly reason: string | undefined;
  /** The number of keys put, deleted or evicted that had a document before. */
  readonly replaced: number;
  /** The shards of the entries that the transaction enqueued. */
  readonly shards: readonly number[] | undefined;
}

/** The result of a commit. `replaced` is undefined if the outcome is from the index, whose rows do not contain it. */
export interface CommitResult {
  readonly outcome: TxOutcome;
  readonly replaced: number | undefined;
}

/** More than the messages in one read of the log, so that callers still find their outcome once it is applied. */
const REMEMBERED_OUTCOMES = 1_024;

/**
 * The outcomes of the newest transactions, for callers that wait for them. They are kept in a ring buffer with
 * `REMEMBERED_OUTCOMES` slots, in which a new transaction overwrites the oldest one. The buffer belongs to one open
 * index, so that no outcome outlives its history.
 */
export class RecentOutcomes {
  readonly #ring: (AppliedTransaction | undefined)[] = Array.from({ length: REMEMBERED_OUTCOMES });

  add(applied: readonly AppliedTransaction[]): void {
    for (const one of applied) this.#ring[one.txId % REMEMBERED_OUTCOMES] = one;
  }

  /** Returns the result of a transaction; undefined if it is not among the newest, or repeats an earlier one. */
  get(txId: TxId): CommitResult | undefined {
    const found = this.#ring[txId % REMEMBERED_OUTCOMES];
    if (found?.txId !== txId) return undefined;
    const { time, mark, reason, replaced, shards = [] } = found;
    const place = { txId, txTime: isoTime(time), position: formatPosition({ txId, mark }) };
    const head = shards.length === 0 ? place : { ...place, shards };
    const outcome: TxOutcome =
      reason === undefined ? { ...head, committed: true } : { ...head, committed: false, reason };
    return { outcome, replaced };
  }
}
