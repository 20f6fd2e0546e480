import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { BackupLog } from "./backup-log.ts";
import { listBackups } from "./segments/segment-name.ts";

/** The logs that have a backup in a store, by id, each with the id of the log that it continues, if it is known to continue one. */
export type Lineage = ReadonlyMap<string, string | undefined>;

/**
 * Returns the logs that have a backup in a store. What `known` has is not read again. One request for up to a thousand segments, and one for
 * each log that is read, which is needed only if there are several.
 */
export async function readLineage(store: CheckpointStore, known: Lineage = new Map()): Promise<Lineage> {
  const ids = await listBackups(store);
  const found = new Map<string, string | undefined>();
  for (const id of ids)
    found.set(id, known.has(id) || ids.length === 1 ? known.get(id) : await continuedBy(store, id));
  return found;
}

/**
 * Returns the log that no other one continues; undefined if there is none. Throws `CONFIG_INVALID` if there are several: it cannot be known
 * which of them is meant.
 */
export function newestLog(lineage: Lineage, location: string): string | undefined {
  const continued = new Set(lineage.values());
  const ends = [...lineage.keys()].filter((id) => !continued.has(id));
  if (ends.length <= 1) return ends[0];
  throw new CairnError(
    "CONFIG_INVALID",
    `${location} has the backups of ${ends.length} logs of which none is known to continue another: ${ends.toSorted().join(", ")}.`,
    {
      hint: 'Name the one to read: "log-id" of cairn.log-backup/->tx-log. cairn log status shows the id of a log.',
    },
  );
}

/** Returns whether a log continues another one, directly or by way of others. */
export function descendsFrom(lineage: Lineage, logId: string, ancestor: string): boolean {
  const seen = new Set<string>();
  let id: string | undefined = logId;
  while (id !== undefined && !seen.has(id)) {
    seen.add(id);
    id = lineage.get(id);
    if (id === ancestor) return true;
  }
  return false;
}

/** Returns the log that a log's birth record names; undefined if there is none, or if the backup no longer has the birth record. */
async function continuedBy(store: CheckpointStore, logId: string): Promise<string | undefined> {
  return (await new BackupLog({ store, logId }).birth())?.continues?.log;
}
