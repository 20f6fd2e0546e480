import type { CheckpointStore } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import { readSegment } from "../../../src/backup/segments/read-segment.ts";
import {
  backupFolder,
  listBackup,
  pointerFile,
  type SegmentFile,
} from "../../../src/backup/segments/segment-name.ts";
import { planLost, pruneLost } from "../../../src/backup/write/prune-backup.ts";
import type { SimulatedLog } from "./simulated-log.ts";

/**
 * Does what an operator does about findings (docs/log-backup.md, "Troubleshooting"): removes damaged segments, prunes
 * what the log lost, and removes segments that the log contradicts. Waits for nothing. Does nothing while a node holds
 * the lease; a lease older than `leaseMs` was left behind. Calls `allow` before it removes what the log has lost, and
 * before it removes files whose messages the log may hold, so that nodes write them again.
 */
export async function mend(
  store: CheckpointStore,
  log: SimulatedLog,
  leaseMs: number,
  allow: (what: "lost" | "held") => void,
): Promise<void> {
  const { lease, segments } = await listBackup(store, "simulated");
  const age = lease === undefined ? Infinity : (await store.now()) - lease.modifiedAt;
  if (age < leaseMs) return;
  const damaged: SegmentFile[] = [];
  for (const segment of segments) {
    try {
      await readSegment(store, segment);
    } catch (error) {
      if (!isCairnError(error, "SEGMENT_CORRUPT")) throw error;
      damaged.push(segment);
    }
  }
  const { first } = log.bounds();
  const isLost = ({ last, end }: SegmentFile): boolean =>
    last >= first && log.at(last)?.sha256.startsWith(end) !== true;
  if (damaged.length === 0 && !segments.some(isLost)) return;
  allow("held");
  const removeFile = async ({ name }: SegmentFile): Promise<void> => {
    for (const file of [name, pointerFile("simulated")]) await store.remove(file);
  };
  for (const file of damaged) await removeFile(file);
  if (lease !== undefined) await store.remove(lease.name);
  const target = {
    store,
    log: log.log,
    of: { id: "simulated", name: log.log.name, offset: 0 },
    node: "operator",
    codec: "none" as const,
    signal: new AbortController().signal,
    storeNow: () => 0,
  };
  try {
    allow("lost");
    const plan = await planLost(target);
    if (plan.segments.length > 0) await pruneLost(target, plan);
  } catch (error) {
    // The log and its backup share nothing. The hint is to move the folder out of the store.
    if (!isCairnError(error, "CONFLICT")) throw error;
    allow("held");
    for (const { name } of await store.list(backupFolder("simulated"))) await store.remove(name);
  }
  allow("held");
  for (const segment of (await listBackup(store, "simulated")).segments)
    if (log.at(segment.last) !== undefined && isLost(segment)) await removeFile(segment);
}
