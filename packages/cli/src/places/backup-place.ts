import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError, isCairnError } from "@cairn/kv";
import { latestOf, listBackups, type LogIdentity, readLogIdentity, surveyBackup } from "@cairn/engine";
import type { CommandRun } from "../options/command.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import { textValue } from "../options/option-specs.ts";
import type { StoreKeyOptions } from "./store-keys.ts";
import { rangeText } from "../terminal/backup-text.ts";
import { UsageError } from "../terminal/report-error.ts";
import { openStore } from "./checkpoint-place.ts";
import {
  type ConfiguredLog,
  openLog,
  openSystem,
  requireIdentity,
  savingStore,
} from "./configured-system.ts";

export interface BackupPlace {
  readonly store: CheckpointStore;
  readonly logId: string;
  readonly configured: (ConfiguredLog & { readonly identity: LogIdentity }) | undefined;
}

export const BACKUP_LOG = textValue(
  "<id>",
  "the id of the log, if the store contains backups of several logs",
);

/**
 * Opens the backup at `place` or in the configured store, and for comparison the configured log, if it exists and is
 * the log that the options name. With `withoutLog`, that may also be unreadable; with `needsLog`, it must exist.
 */
export async function openBackup(
  run: CommandRun<ConfigurationOptions & StoreKeyOptions & { readonly log?: string | undefined }>,
  place: string | undefined,
  { withoutLog = false, needsLog = false } = {},
): Promise<BackupPlace> {
  const { options } = run;
  const alone = async (store: CheckpointStore): Promise<BackupPlace> => {
    const logId = await chooseBackup(store, options.log);
    return { store, logId, configured: undefined };
  };
  if (place !== undefined && !isConfigured(options)) return await alone(await openStore(run, place));
  const system = await openSystem(run);
  const inStore = async (): Promise<CheckpointStore> =>
    place === undefined ? savingStore(system) : await openStore(run, place);
  try {
    const configured = await openLog(run, system);
    const { log } = configured;
    // A node that reads its log from the backup has no other log with which the backup could be compared.
    if (log.backup !== undefined && place === undefined) return await alone(log.backup.store);
    const identity = needsLog ? await requireIdentity(log, system) : await readLogIdentity(log);
    if (identity === undefined || (options.log ?? identity.id) !== identity.id)
      return await alone(await inStore());
    return { store: await inStore(), logId: identity.id, configured: { ...configured, identity } };
  } catch (error) {
    // An embedded log is locked while its node runs.
    if (!withoutLog || !isCairnError(error, "LOG_UNREACHABLE", "INDEX_LOCKED")) throw error;
    run.notice(`the log cannot be read: ${error.code}: ${error.message}`);
    return await alone(await inStore());
  }
}

/** Returns `asked` if the store has a backup of it; by default, the only log that no other log there continues. */
async function chooseBackup(store: CheckpointStore, asked: string | undefined): Promise<string> {
  const known = (await listBackups(store)).toSorted();
  if (known.length === 0)
    throw new CairnError(
      "NOT_FOUND",
      `There is no log backup in ${store.location}.`,
      'Run a node with "log-backup" in its checkpointer, as docs/log-backup.md describes.',
    );
  if (asked !== undefined) {
    if (known.includes(asked)) return asked;
    throw new CairnError(
      "NOT_FOUND",
      `${store.location} has no backup of the log ${asked}.`,
      `Choose a log of which it has a backup: ${known.join(", ")}.`,
    );
  }
  const [latest, ...others] = (await latestOf(store, new Map(known.map((id) => [id, ""])))).keys();
  if (latest !== undefined && others.length === 0) return latest;
  const held: string[] = [];
  for (const id of known) {
    const ranges = (await surveyBackup(store, id)).covered.map(rangeText);
    held.push(`${id} (transactions ${ranges.join(", ")})`);
  }
  throw new UsageError(
    `${store.location} contains backups of several logs, none of which is known to continue the others: ${held.join("; ")}.`,
    "Choose one of them with --log ID.",
  );
}
