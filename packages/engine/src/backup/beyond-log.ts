import type { CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { anchorOf } from "../log/anchor.ts";
import { lastInCommon } from "../log/last-in-common.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { lineOf, readLineages } from "./backup-lineage.ts";
import { EarlierLogs } from "./earlier-logs.ts";
import { type FurthestBackup, furthestBackup } from "./furthest-backup.ts";

/** A backup with transactions that are not in the history of a log. */
interface BackupBeyond {
  /** This log itself if it has lost its end, and otherwise a log that it continues or has replaced. */
  readonly logId: string;
  readonly store: CheckpointStore;
  readonly shared: TxId;
  /** The last transaction that this backup has in common with the log or with an earlier backup in the list. */
  readonly listed: TxId;
  readonly last: TxId;
}

/**
 * Returns the backups in `stores` with transactions that are not in a log's history: the log lost them, an earlier log
 * held them after the point at which it was continued, or their log was abandoned because an earlier one was continued
 * at an earlier point. A transaction in several backups is attributed to the first.
 */
export async function backupsBeyond(
  log: TxLog,
  { id, birth, bounds }: LogIdentity,
  stores: readonly CheckpointStore[],
): Promise<BackupBeyond[]> {
  const found: BackupBeyond[] = [];
  const own = await furthestBackup(stores, id);
  if (own !== undefined) {
    const shared = await lastCommon(log, own, bounds.last + own.offset);
    if (shared < own.last)
      found.push({ logId: id, store: own.store, shared, listed: shared, last: own.last });
  }
  const earlier = new EarlierLogs(stores);
  const ends = await earlier.ends(birth);
  const lineage = await readLineages(stores);
  // Each log precedes those that it continues, so that common transactions are attributed to the later log.
  const given = [...lineage.keys()]
    .filter((one) => one !== id && ends.every(({ logId }) => logId !== one))
    .toSorted((a, b) => lineOf(lineage, b).length - lineOf(lineage, a).length);
  for (const logId of [...given, ...ends.map((end) => end.logId)]) {
    const end = await earlier.endInCommon(logId, birth);
    const backup = end && (await furthestBackup(stores, logId));
    if (end === undefined || backup === undefined) continue;
    const shared = end.last;
    let listed = shared;
    for (const { logId: before } of found) {
      const continues = lineage.get(before)?.continues;
      if (continues === undefined) continue;
      const later = { log: before, offset: continues.anchor.txId, continues };
      listed = Math.max(listed, (await earlier.endInCommon(logId, later))?.last ?? 0);
    }
    if (backup.last > listed) found.push({ logId, store: backup.store, shared, listed, last: backup.last });
  }
  return found;
}

/** The log ends at `logEnd`. Transactions that it has trimmed count as common. */
async function lastCommon(
  log: Pick<TxLog, "fetch">,
  { log: backup, offset, covered, last }: FurthestBackup,
  logEnd: TxId,
): Promise<TxId> {
  const low = (covered[0]?.first ?? 1) - 1;
  return await lastInCommon(low, Math.min(last, logEnd), async (txId) => {
    const [ours, theirs] = [await log.fetch(txId - offset), await backup.fetch(txId - offset)];
    if (ours === undefined || theirs === undefined) return undefined;
    return anchorOf(ours).sha256 === anchorOf(theirs).sha256 ? undefined : txId;
  });
}
