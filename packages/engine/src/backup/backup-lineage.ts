import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { type ContinuedLog, obsoleteLogs } from "../transactions/birth-record.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";
import { BackupLog } from "./backup-log.ts";
import { listBackups } from "./segments/segment-name.ts";

export interface LogOrigin {
  /** The log that this one continues; undefined if there is none, or if the backup no longer holds the birth record. */
  readonly continues: ContinuedLog | undefined;
  /** The logs that this one has made obsolete ({@link obsoleteLogs}). */
  readonly obsolete: readonly string[];
  /** When the log was created (ms since 1970, its server's clock); undefined if the birth record is no longer held. */
  readonly begunAt: number | undefined;
}

/** The logs that have a backup in a store, by id. A single log's backup is not read, and its value is undefined. */
export type Lineage = ReadonlyMap<string, LogOrigin | undefined>;

/**
 * Returns the logs with a backup in a store. Unless `logs` are their ids, it lists all segments; if there are several
 * logs, it reads the first segment of each that is not in `known`.
 */
export async function readLineage(
  store: CheckpointStore,
  known: Lineage = new Map(),
  logs?: readonly string[],
): Promise<Lineage> {
  const ids = logs ?? (await listBackups(store));
  const found = new Map<string, LogOrigin | undefined>();
  for (const id of ids)
    found.set(id, known.get(id) ?? (ids.length === 1 ? undefined : await readOrigin(store, id)));
  return found;
}

export async function readLineages(stores: readonly CheckpointStore[]): Promise<Lineage> {
  const found = new Map<string, LogOrigin | undefined>();
  for (const store of stores)
    for (const [logId, origin] of await readLineage(store)) found.set(logId, origin ?? found.get(logId));
  return found;
}

/**
 * The logs that a new log replaces if it continues `continued`: those that continue it or a predecessor and are not
 * part of the new log's history.
 */
export function replacedLogs(lineage: Lineage, continued: string): string[] {
  const history = lineOf(lineage, continued);
  const root = history.at(-1);
  return [...lineage.keys()].filter((id) => !history.includes(id) && rootOf(lineage, id) === root);
}

/**
 * Returns the newest log of each lineage among `ids`: omits those that another one of them continues, and those whose
 * earlier log was later recovered again at another point.
 */
export function newestLogs(lineage: Lineage, ids: readonly string[] = [...lineage.keys()]): string[] {
  const replaced = new Set(ids.flatMap((id) => replacedBy(lineage, id)));
  const newest = new Map<string, string>();
  for (const id of ids) {
    if (replaced.has(id)) continue;
    const root = rootOf(lineage, id);
    const other = newest.get(root);
    if (other === undefined || begunAt(lineage, id) > begunAt(lineage, other)) newest.set(root, id);
  }
  return [...newest.values()];
}

function replacedBy(lineage: Lineage, id: string): readonly string[] {
  return [...lineOf(lineage, id).slice(1), ...(lineage.get(id)?.obsolete ?? [])];
}

/** Undefined if all have been replaced. Throws `CONFIG_INVALID` if several are left: the choice would be ambiguous. */
export function newestLog(lineage: Lineage, location: string): string | undefined {
  const ends = newestLogs(lineage);
  if (ends.length <= 1) return ends[0];
  throw new CairnError(
    "CONFIG_INVALID",
    `${location} contains the backups of ${ends.length} logs, none of which is known to continue another: ${ends.toSorted().join(", ")}.`,
    'Set "log-id" of cairn.log-backup/->tx-log to the id of the log to read. cairn log status shows the id of a log.',
  );
}

/** The log that continues or replaces `logId`, or was recovered later from the same earlier log. Undefined if none. */
export function successorOf(lineage: Lineage, logId: string): string | undefined {
  const root = rootOf(lineage, logId);
  const found = newestLogs(lineage).find((id) =>
    [id, ...replacedBy(lineage, id)].some((one) => rootOf(lineage, one) === root),
  );
  return found === logId ? undefined : found;
}

/** The earliest known log that it continues, directly or indirectly; its own id if it continues none. */
function rootOf(lineage: Lineage, logId: string): string {
  return lineOf(lineage, logId).at(-1) ?? logId;
}

/** Returns the ids of a log and of the known logs that it continues, newest first. */
export function lineOf(lineage: Lineage, logId: string): string[] {
  const line: string[] = [];
  let next: string | undefined = logId;
  while (next !== undefined && !line.includes(next)) {
    line.push(next);
    next = lineage.get(next)?.continues?.log;
  }
  return line;
}

function begunAt(lineage: Lineage, logId: string): number {
  return lineage.get(logId)?.begunAt ?? -Infinity;
}

async function readOrigin(store: CheckpointStore, logId: string): Promise<LogOrigin> {
  const first = await new BackupLog({ store, logId }).fetch(1);
  const decoded = first === undefined ? undefined : decodeMessage(first.payload);
  const birth = decoded?.kind === "birth" ? decoded.birth : undefined;
  return { continues: birth?.continues, obsolete: obsoleteLogs(birth), begunAt: first?.time };
}
