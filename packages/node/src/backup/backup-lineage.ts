import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { ContinuedLog } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import { BackupLog } from "./backup-log.ts";
import { listBackups } from "./segments/segment-name.ts";

/** What the backup of a log shows of its beginning. */
export interface LogOrigin {
  /** The log that it continues; undefined if it continues none, or if the backup no longer has the birth record. */
  readonly continues: ContinuedLog | undefined;
  /** When it was begun (ms since 1970), by the clock of the log's server; undefined if the backup no longer has the birth record. */
  readonly begunAt: number | undefined;
}

/** The logs that have a backup in a store, by id; undefined for one that was not read, because it is the only one. */
export type Lineage = ReadonlyMap<string, LogOrigin | undefined>;

/**
 * Returns the logs that have a backup in a store. Logs in `known` are not read again. It takes one request per thousand
 * segments and, if there are several logs, one for each log that is not yet known.
 */
export async function readLineage(store: CheckpointStore, known: Lineage = new Map()): Promise<Lineage> {
  const ids = await listBackups(store);
  const found = new Map<string, LogOrigin | undefined>();
  for (const id of ids)
    found.set(id, known.get(id) ?? (ids.length === 1 ? undefined : await readOrigin(store, id)));
  return found;
}

/**
 * Returns the logs that nothing has taken the place of: those that no other one continues and, of several that were recovered from one log at
 * different points, only the one that was begun last.
 */
export function newestLogs(lineage: Lineage): string[] {
  const continued = new Set([...lineage.values()].map((origin) => origin?.continues?.log));
  const newest = new Map<string, string>();
  for (const id of lineage.keys()) {
    if (continued.has(id)) continue;
    const root = rootOf(lineage, id);
    const other = newest.get(root);
    if (other === undefined || begunAt(lineage, id) > begunAt(lineage, other)) newest.set(root, id);
  }
  return [...newest.values()];
}

/**
 * Returns the log that nothing has taken the place of; undefined if there is none. Throws `CONFIG_INVALID` if there are several: it cannot be
 * known which of them is meant.
 */
export function newestLog(lineage: Lineage, location: string): string | undefined {
  const ends = newestLogs(lineage);
  if (ends.length <= 1) return ends[0];
  throw new CairnError(
    "CONFIG_INVALID",
    `${location} contains the backups of ${ends.length} logs, none of which is known to continue another: ${ends.toSorted().join(", ")}.`,
    {
      hint: 'Name the one to read: "log-id" of cairn.log-backup/->tx-log. cairn log status shows the id of a log.',
    },
  );
}

/** Returns the log that has taken the place of another one: it continues it, or was recovered later from the same log; undefined if none has. */
export function successorOf(lineage: Lineage, logId: string): string | undefined {
  const root = rootOf(lineage, logId);
  const found = newestLogs(lineage).find((id) => rootOf(lineage, id) === root);
  return found === logId ? undefined : found;
}

/** Returns the first log to which a log leads back, as far as that is known. */
function rootOf(lineage: Lineage, logId: string): string {
  const seen = new Set<string>();
  let id = logId;
  for (;;) {
    const next: string | undefined = seen.has(id) ? undefined : lineage.get(id)?.continues?.log;
    if (next === undefined) return id;
    seen.add(id);
    id = next;
  }
}

function begunAt(lineage: Lineage, logId: string): number {
  return lineage.get(logId)?.begunAt ?? -Infinity;
}

async function readOrigin(store: CheckpointStore, logId: string): Promise<LogOrigin> {
  const first = await new BackupLog({ store, logId }).fetch(1);
  const decoded = first === undefined ? undefined : decodeMessage(first.payload);
  const birth = decoded?.kind === "birth" ? decoded.birth : undefined;
  return { continues: birth?.continues, begunAt: first?.time };
}
