import { type CheckpointStore, listCheckpoints, parseCheckpointName } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { unlessFailed } from "@cairn/kv";
import { lineOf, newestLogs, readLineage } from "../backup/backup-lineage.ts";
import { reachedBy } from "../backup/segments/backup-view.ts";
import { lastSegment, listBackup, listBackups } from "../backup/segments/segment-name.ts";
import { listCandidates } from "../checkpoints/candidates.ts";
import { UNUSABLE_SEGMENT } from "../backup/segments/read-segment.ts";

/**
 * Returns the newest log of each lineage among `logs`, as far as backups in the store show which log continues which, or
 * the newest one of the lineage that leads to `asked`. A lineage whose newest log is not among them counts as well.
 */
export async function latestOf(
  store: CheckpointStore,
  logs: ReadonlyMap<string, string>,
  asked?: string,
): Promise<ReadonlyMap<string, string>> {
  if (asked === undefined ? logs.size < 2 : logs.has(asked))
    return new Map([...logs].filter(([id]) => asked === undefined || id === asked));
  const lineage = await unlessFailed(readLineage(store), UNUSABLE_SEGMENT, undefined);
  const known = lineage ?? new Map<string, undefined>();
  const line = asked === undefined ? [...logs.keys()] : lineOf(known, asked).filter((id) => logs.has(id));
  const newest = new Set(newestLogs(known, line));
  return new Map([...logs].filter(([id]) => newest.has(id)));
}

/** Returns the ids of the logs in a store, with their names if checkpoints contain them. */
export async function logsIn(store: CheckpointStore, signal?: AbortSignal): Promise<Map<string, string>> {
  const logs = new Map<string, string>();
  for (const id of await listBackups(store)) logs.set(id, "");
  for (const { log } of (await listCheckpoints(store, signal)).checkpoints) logs.set(log.id, log.name);
  return logs;
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

/** Returns the last transaction that a log's backup in one of the stores holds, or has held; 0 if there is none. */
export async function lastBackedUp(stores: readonly CheckpointStore[], logId: string): Promise<TxId> {
  let last = 0;
  for (const store of stores) {
    const reached = await reachedBy(store, logId);
    const { segments } = await listBackup(store, logId);
    last = Math.max(last, reached, lastSegment(segments)?.last ?? 0);
  }
  return last;
}
