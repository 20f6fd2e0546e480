import { type CheckpointStore, parseCheckpointName } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { CairnError } from "@cairn/kv";
import { listBackup, type TxRange } from "../backup/segments/segment-name.ts";
import { listCandidates } from "../checkpoints/candidates.ts";
import type { PastPlan, PastPoint } from "./past-plan.ts";

/**
 * Returns `CHECKPOINT_NOT_FOUND` for a transaction beyond all that is known of its log: it may never have existed, so
 * an earlier one is no substitute. `where` contains the searched locations, and `hint` the advice.
 */
export function beyondReach(
  { known, covered, source, checkpoint, history }: PastPlan,
  at: PastPoint | undefined,
  where: string,
  hint: string,
): CairnError | undefined {
  if (at === undefined || !("txId" in at) || at.txId <= known) return undefined;
  const holder = source === "log" ? "the log holds" : "the log backup covers";
  const parts = [
    ...(covered.length === 0 ? [] : [`${holder} ${covered.map(rangeOf).join(", ")}`]),
    ...(history === undefined && checkpoint !== undefined
      ? [`the newest checkpoint ends with transaction ${checkpoint.txId}`]
      : []),
  ];
  const message = `Transaction ${at.txId} is beyond everything in ${where}: ${parts.join(", and ")}.`;
  return new CairnError("CHECKPOINT_NOT_FOUND", message, hint);
}

/** Returns the last transaction of a log that checkpoints and backups show, even if they cannot be used. */
export async function lastStored(
  stores: readonly CheckpointStore[],
  logId: string,
  signal?: AbortSignal,
): Promise<TxId> {
  const { usable, skipped } = await listCandidates(stores, { signal });
  const ends = [
    ...usable.filter(({ log }) => log.id === logId).map(({ txId }) => txId),
    ...skipped.filter((one) => one.logId === logId).map(({ name }) => parseCheckpointName(name)?.txId ?? 0),
  ];
  return ends.reduce((max, end) => Math.max(max, end), await lastBackedUp(stores, logId));
}

/** Returns the last transaction that a log's backup in one of the stores holds; 0 if there is none. */
export async function lastBackedUp(stores: readonly CheckpointStore[], logId: string): Promise<TxId> {
  let last = 0;
  for (const store of stores)
    for (const segment of (await listBackup(store, logId)).segments) last = Math.max(last, segment.last);
  return last;
}

function rangeOf({ first, last }: TxRange): string {
  return first === last ? `transaction ${first}` : `transactions ${first} to ${last}`;
}
