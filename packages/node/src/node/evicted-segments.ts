import { isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { EvictionPlaces } from "../api/node-api.ts";
import { backupFolder, listBackup, listBackups, type SegmentFile } from "../backup/segments/segment-name.ts";
import { allStores, type RestoringSystem } from "../checkpoints/checkpoint-stores.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { anchorOf } from "../log/anchor.ts";
import type { TxLog } from "../log/tx-log.ts";

/** The segments of log backups that may hold evicted content. */
export interface BackedUp {
  readonly own: readonly SegmentFile[];
  /** The segments of earlier logs that the node's log may continue. */
  readonly earlier: readonly SegmentFile[];
  /** The log's segments belong to its history, so those before a first write or after an eviction lack its content. */
  readonly comparable: boolean;
}

type Content = Pick<EvictionPlaces, "txId"> & { readonly notBefore: TxId };

/** Null if a store does not respond, because content there must not be reported as removed. */
export async function backedUp(
  system: RestoringSystem,
  { id, offset }: IndexState["log"],
  log: TxLog | undefined,
): Promise<BackedUp | null> {
  const own: SegmentFile[] = [];
  const earlier: SegmentFile[] = [];
  for (const store of allStores(system)) {
    try {
      for (const logId of await listBackups(store)) {
        const { segments } = await listBackup(store, logId);
        if (backupFolder(logId) === backupFolder(id)) own.push(...segments);
        // Names do not show which logs the node's log continues, but any log with transactions up to its offset may be
        // one of them.
        else earlier.push(...segments.filter(({ first }) => first <= offset));
      }
    } catch (error) {
      if (isCairnError(error) && error.code.startsWith("STORE_")) return null;
      throw error;
    }
  }
  return { own, earlier, comparable: await isOfLog(log, own, offset) };
}

/** Returns whether the log holds the last message of the backup, unchanged. */
async function isOfLog(
  log: TxLog | undefined,
  segments: readonly SegmentFile[],
  offset: number,
): Promise<boolean> {
  const [newest] = segments.toSorted((a, b) => b.last - a.last);
  if (log === undefined || newest === undefined) return false;
  try {
    const message = await log.fetch(newest.last - offset);
    return message !== undefined && anchorOf(message).sha256.startsWith(newest.end);
  } catch (error) {
    // Nothing is certain without the log. Its problem is reported elsewhere.
    if (isCairnError(error) && error.code.startsWith("LOG_")) return false;
    throw error;
  }
}

/**
 * Returns the segments that may hold evicted content, and the time at which the last of them may be removed because of
 * its age.
 */
export function inSegments(
  found: BackedUp | null,
  { txId, notBefore }: Content,
  keep: number | "all" | undefined,
): Pick<EvictionPlaces, "segments" | "segmentsUntil"> {
  if (found === null) return { segments: null, segmentsUntil: null };
  const mayHold = ({ first, last }: SegmentFile): boolean => first < txId && last >= notBefore;
  const { own, earlier, comparable } = found;
  const holding = [...earlier.filter(mayHold), ...(comparable ? own.filter(mayHold) : own)];
  const newest = Math.max(...holding.map(({ modifiedAt }) => modifiedAt));
  const isKept = holding.length === 0 || keep === undefined || keep === "all";
  return {
    segments: [...new Set(holding.map(({ name }) => name))],
    segmentsUntil: isKept ? null : new Date(newest + keep).toISOString(),
  };
}
