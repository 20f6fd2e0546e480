import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError, isCairnError } from "@cairn/kv";
import type { System } from "../../api/system.ts";
import { BackupLog } from "../../backup/backup-log.ts";
import { coveredRanges, listBackup, listBackups } from "../../backup/segments/segment-name.ts";
import type { BackupTarget } from "../../backup/write/write-segments.ts";
import { readLogIdentity } from "../../log/log-identity.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { latestOf } from "../../replay/restored-index.ts";
import type { CommandRun } from "../options/command.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import { textValue } from "../options/option-specs.ts";
import type { StoreKeyOptions } from "../options/store-keys.ts";
import { rangeText } from "../terminal/backup-text.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { withCheckpointPlace } from "./checkpoint-place.ts";
import { noStore } from "./checkpoint-source.ts";
import { withLog, withStores } from "./log-place.ts";

/** The backup of a log in a store and, if there is a configuration, that log and the other parts of its node. */
export interface BackupPlace {
  readonly store: CheckpointStore;
  readonly logId: string;
  readonly configured: { readonly log: TxLog; readonly system: System } | undefined;
}

export interface BackupOptions extends ConfigurationOptions, StoreKeyOptions {
  readonly log?: string | undefined;
}

export const BACKUP_LOG = textValue(
  "<id>",
  "the id of the log, if the store contains backups of several logs",
);

/**
 * Runs `use` with the backup in the store at `place` or, if there is no `place`, in the configured store. The
 * configured log is passed on for comparison if it exists and is the log that the options name. If `withoutLog` is set,
 * the log may also be unreadable.
 */
export async function withBackup<T>(
  { options, terminal }: CommandRun<BackupOptions>,
  place: string | undefined,
  use: (backup: BackupPlace) => Promise<T>,
  { withoutLog = false } = {},
): Promise<T> {
  const alone = async (store: CheckpointStore): Promise<T> => {
    const logId = await chooseBackup(store, options.log);
    return await use({ store, logId, configured: undefined });
  };
  if (place !== undefined && !isConfigured(options)) return await inPlace(place, options, terminal, alone);
  const inStore = async (
    { checkpointer }: System,
    work: (store: CheckpointStore) => Promise<T>,
  ): Promise<T> => {
    if (place !== undefined) return await inPlace(place, options, terminal, work);
    if (checkpointer === undefined) throw noStore();
    return await work(checkpointer.store);
  };
  try {
    return await withLog(options, terminal, async (log, system) => {
      // A node that reads its log from the backup has no other log with which the backup could be compared.
      if (log.backup !== undefined && place === undefined) return await alone(log.backup.store);
      const identity = await readLogIdentity(log);
      if (identity === undefined || (options.log ?? identity.id) !== identity.id)
        return await inStore(system, alone);
      const { id: logId } = identity;
      return await inStore(system, async (store) => await use({ store, logId, configured: { log, system } }));
    });
  } catch (error) {
    // An embedded log is locked while its node runs.
    const isClosed = isCairnError(error, "LOG_UNREACHABLE") || isCairnError(error, "INDEX_LOCKED");
    if (!withoutLog || !isClosed) throw error;
    terminal.stderr.write(`notice: the log cannot be read: ${error.code}: ${error.message}\n`);
    return await withStores(options, terminal, async (system) => await inStore(system, alone));
  }
}

async function inPlace<T>(
  place: string,
  keys: StoreKeyOptions,
  terminal: Terminal,
  use: (store: CheckpointStore) => Promise<T>,
): Promise<T> {
  return await withCheckpointPlace(place, keys, terminal, async ({ store, name }) => {
    if (name === undefined) return await use(store);
    throw new UsageError(`The path names ${name}, not a store.`, "Name the folder or the bucket.");
  });
}

/** Returns `asked` if the store has a backup of it; by default, the only log that no other log there continues. */
async function chooseBackup(store: CheckpointStore, asked: string | undefined): Promise<string> {
  const known = (await listBackups(store)).toSorted();
  if (known.length === 0)
    throw new CairnError("NOT_FOUND", `There is no log backup in ${store.location}.`, {
      hint: 'Run a node with "log-backup" in its checkpointer, as docs/log-backup.md describes.',
    });
  if (asked !== undefined) {
    if (known.includes(asked)) return asked;
    throw new CairnError("NOT_FOUND", `${store.location} has no backup of the log ${asked}.`, {
      hint: `Choose a log of which it has a backup: ${known.join(", ")}.`,
    });
  }
  const [latest, ...others] = await ends(store, known);
  if (latest !== undefined && others.length === 0) return latest;
  const held: string[] = [];
  for (const id of known) {
    const ranges = coveredRanges((await listBackup(store, id)).segments).map(rangeText);
    held.push(`${id} (transactions ${ranges.join(", ")})`);
  }
  throw new UsageError(
    `${store.location} contains backups of several logs, none of which is known to continue the others: ${held.join("; ")}.`,
    "Choose one of them with --log ID.",
  );
}

/**
 * Returns the logs that no other log continues, or all logs if a damaged segment makes it impossible to determine them.
 */
async function ends(store: CheckpointStore, known: readonly string[]): Promise<readonly string[]> {
  try {
    return [...(await latestOf(store, new Map(known.map((id) => [id, ""])))).keys()];
  } catch (error) {
    if (!isCairnError(error, "SEGMENT_CORRUPT")) throw error;
    return known;
  }
}

export async function pruneTarget(
  { store, logId }: BackupPlace,
  log: TxLog,
  signal: AbortSignal,
): Promise<BackupTarget> {
  const identity = await readLogIdentity(log);
  const inBackup = new BackupLog({ store, logId });
  const offset = identity?.birth?.offset ?? (await inBackup.offset()) ?? 0;
  const ahead = (await store.now()) - Date.now();
  return {
    store,
    log,
    of: { id: logId, name: log.name, offset },
    node: `cairn log backup prune on ${hostname()} (${randomBytes(4).toString("hex")})`,
    codec: "none",
    signal,
    storeNow: () => Date.now() + ahead,
  };
}
