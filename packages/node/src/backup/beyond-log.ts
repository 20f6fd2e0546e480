import type { CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { anchorOf } from "../log/anchor.ts";
import type { LogIdentity } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import { EarlierLogs } from "./earlier-logs.ts";
import { type FurthestBackup, furthestBackup } from "./furthest-backup.ts";

/** A backup that holds transactions which a log does not. */
export interface BackupBeyond {
  /** The id of the log that was backed up: the same log, which lost its end, or one that it continues. */
  readonly logId: string;
  readonly store: CheckpointStore;
  /** The last transaction that both have. */
  readonly shared: TxId;
  /** The last transaction of the backup. */
  readonly last: TxId;
}

/** Returns the backups in `stores` that hold what a log has lost, or what the log before it had when it was continued. */
export async function backupsBeyond(
  log: TxLog,
  { id, birth, bounds }: LogIdentity,
  stores: readonly CheckpointStore[],
): Promise<BackupBeyond[]> {
  const found: BackupBeyond[] = [];
  const own = await furthestBackup(stores, id);
  if (own !== undefined) {
    const shared = await lastCommon(log, own, bounds.last + own.offset);
    if (shared < own.last) found.push({ logId: id, store: own.store, shared, last: own.last });
  }
  for (const { logId, last: shared } of await new EarlierLogs(stores).ends(birth)) {
    const earlier = await furthestBackup(stores, logId);
    if (earlier === undefined || earlier.last <= shared) continue;
    found.push({ logId, store: earlier.store, shared, last: earlier.last });
  }
  return found;
}

/**
 * Returns the last transaction that a log, which ends at `logEnd`, and its backup have in common. Histories that have parted never join
 * again, so a binary search finds it. What the log has trimmed counts as common.
 */
export async function lastCommon(
  log: Pick<TxLog, "fetch">,
  { log: backup, offset, covered, last }: FurthestBackup,
  logEnd: TxId,
): Promise<TxId> {
  let low = (covered[0]?.first ?? 1) - 1;
  let high = Math.min(last, logEnd);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const [ours, theirs] = [await log.fetch(middle - offset), await backup.fetch(middle - offset)];
    const agrees =
      ours === undefined || theirs === undefined || anchorOf(ours).sha256 === anchorOf(theirs).sha256;
    if (agrees) low = middle;
    else high = middle - 1;
  }
  return low;
}
