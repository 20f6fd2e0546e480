import type { TxId } from "@cairn/client";
import type { CandidateCheckpoint } from "../checkpoints/candidates.ts";
import { compareChains } from "../index/chains/compare-chains.ts";

/*
 * If a log loses its end and continues, the stores may hold both histories. A transaction's time is the latest time of
 * any message up to it, so it never decreases within a history. An end that is further than another one but earlier is
 * therefore of another history, which the log had lost when it continued.
 */

/** The last transaction of a history, as far as it is known, and its time (ms since 1970). */
interface PastEnd {
  readonly txId: TxId;
  readonly time: number;
}

/** A checkpoint of a history of the log that is not the chosen one. */
export interface OtherHistory extends PastEnd {
  readonly checkpoint: string;
  readonly store: string;
  /** Whether it seems to have continued later than the chosen history, although that one reaches further. */
  readonly isLater: boolean;
}

/** The end of a log or its backup. `isOther` returns whether it contradicts a checkpoint before the end. */
interface ReadableEnd {
  readonly txId: TxId;
  readonly time: number | undefined;
  readonly isOther: (checkpoint: CandidateCheckpoint) => Promise<boolean>;
}

/**
 * Returns the checkpoint that ends the history of a log that continued latest, or undefined if the log or its backup
 * does. Also returns checkpoints of other histories that reach further, or that seem to have continued later.
 */
export async function separateHistories(
  checkpoints: readonly CandidateCheckpoint[],
  readable: ReadableEnd | undefined,
): Promise<{ readonly latest: CandidateCheckpoint | undefined; readonly others: readonly OtherHistory[] }> {
  const ends = checkpoints
    .map((one) => ({ one, txId: one.txId, time: Date.parse(one.txTime) }))
    .toSorted((a, b) => b.time - a.time || b.txId - a.txId);
  const { txId: last = 0, time: lastTime = -Infinity } = readable ?? {};
  const latest = ends.find(({ txId, time }) => txId > last && time >= lastTime);
  const end = latest ?? { txId: last, time: lastTime };
  const others = ends
    .filter(({ txId, time }) => txId > end.txId && time < end.time)
    .map((other) => otherHistory(other, false));
  for (const other of ends) {
    if (other.txId > end.txId || !(await seemsLater(other, latest?.one, readable))) continue;
    others.push(otherHistory(other, true));
    break;
  }
  return { latest: latest?.one, others };
}

interface CheckpointEnd extends PastEnd {
  readonly one: CandidateCheckpoint;
}

async function seemsLater(
  { one, time }: CheckpointEnd,
  latest: CandidateCheckpoint | undefined,
  readable: ReadableEnd | undefined,
): Promise<boolean> {
  if (latest === undefined)
    return readable?.time !== undefined && time > readable.time && (await readable.isOther(one));
  // If the clock of the log's server was set back, only the time of the save shows which history continued.
  const valueAt = (txId: TxId) => Promise.resolve(latest.chains.find((value) => value.txId === txId));
  return one.takenAt > latest.takenAt && (await compareChains(valueAt, one.chains, "history")) !== undefined;
}

function otherHistory({ one, txId, time }: CheckpointEnd, isLater: boolean): OtherHistory {
  return { checkpoint: one.name, store: one.store, txId, time, isLater };
}
