import { omitUndefined } from "@cairn/text";
import { mkdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Manifest } from "@cairn/checkpoint";
import {
  CairnError,
  captureLevelDb,
  indexCorrupt,
  isCairnError,
  LEVEL_FORMAT,
  liveTableNames,
  systemErrorCode,
  unlessFailed,
} from "@cairn/kv";
import { judgeFormat } from "@cairn/engine";
import type { CommandRun } from "../options/command.ts";
import { readConfiguration } from "../options/configuration.ts";
import { negatedFlag, type OptionValues } from "../options/option-specs.ts";
import { STORE_OPTIONS } from "../places/store-keys.ts";
import { CHECKPOINT_LOG, chooseCheckpoint, folderPath, openCheckpoints } from "../places/checkpoint-place.ts";
import { restoreShown } from "../places/restored-checkpoint.ts";
import { STAGING, stagingFolder, workFolder } from "../places/staging-folder.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type DbPlace, findDbPlace } from "./db-place.ts";

export const DB_OPTIONS = {
  ...STORE_OPTIONS,
  staging: STAGING,
  log: CHECKPOINT_LOG,
  checksums: negatedFlag("do not compare the tables with their checksums first"),
};

export type DbRun = CommandRun<OptionValues<typeof DB_OPTIONS>>;

/** A private, temporary copy of a database. */
export interface DbCopy {
  readonly kind: DbPlace["kind"];
  /** The name by which messages refer to the original. */
  readonly source: string;
  /** The folder of the copy. Opening the copy may write to it. */
  readonly dir: string;
  /** The manifest, if the original is a checkpoint. */
  readonly manifest?: Manifest;
}

/**
 * Copies the database at a path, by default the configured node's index, for the duration of the run: captures a
 * LevelDB (with links if possible), or restores a checkpoint. The original is neither locked nor written to.
 */
export async function copyDb(run: DbRun, asked: string | undefined): Promise<DbCopy> {
  const place = asked ?? (await readConfiguration(run)).dbDir;
  const found = await findDbPlace(place, run.terminal);
  if (asked !== undefined)
    run.completeDbCommands(place.startsWith("s3:") ? place : folderPath(place, run.terminal));
  const staging = await makeStaging(run, found);
  const dir = join(staging, "copy");
  run.interruptible("the original is unchanged");
  run.explained = (error) => aboutOriginal(error, dir, place);
  if (found.kind === "checkpoint") return { kind: found.kind, dir, ...(await restore(run, place, staging)) };
  await capture(found.dir, dir);
  return { kind: found.kind, source: place, dir };
}

const PURPOSE = "db";

/**
 * Creates the copy's folder in the temporary folder or, if possible, next to an original on another file system: tables
 * can be linked there, and copies of them could fill the temporary folder.
 */
async function makeStaging(run: DbRun, found: DbPlace): Promise<string> {
  if (run.options.staging === undefined && found.kind !== "checkpoint") {
    const index = await stat(found.dir);
    const temporary = await unlessFailed(stat(tmpdir()), "ENOENT", undefined);
    const parent = dirname(found.kind === "db-dir" ? dirname(found.dir) : found.dir);
    if (index.dev !== temporary?.dev && (await stat(parent)).dev === index.dev) {
      try {
        const folder = await workFolder(run, parent, PURPOSE);
        await mkdir(folder, { mode: 0o700 });
        return folder;
      } catch (error) {
        // If this user is not allowed to write to the parent folder, the temporary folder is used.
        if (!["EACCES", "EPERM", "EROFS"].includes(systemErrorCode(error) ?? "")) throw error;
      }
    }
  }
  return await stagingFolder(run, PURPOSE);
}

async function capture(source: string, dir: string): Promise<void> {
  try {
    // Unchecked, because the commands check tables and report more. Few attempts, because a person is waiting.
    await captureLevelDb(source, dir, { unchecked: true, maxStarts: 5 });
  } catch (cause) {
    // Files kept disappearing during the capture, or one was missing from the start. Only the latter is damage.
    if (!isCairnError(cause, "CHECKPOINT_INCOMPLETE")) throw cause;
    await liveTableNames(source).catch((error: unknown) => {
      if (!isCairnError(error, "CHECKPOINT_INCOMPLETE")) throw error;
      const what = error.message.replace(/^.* lacks /, "");
      throw indexCorrupt(`The database in ${source} lacks ${what}`, cause);
    });
    throw cause;
  }
}

async function restore(run: DbRun, place: string, staging: string) {
  const found = await openCheckpoints(run, place);
  const { store, name: inPlace } = found;
  const { log } = run.options;
  if (inPlace !== undefined && log !== undefined)
    throw new UsageError("--log chooses a checkpoint, but one is already named.");
  const { name } = await chooseCheckpoint(found, inPlace, { ask: { asked: log }, signal: run.signal });
  const { manifest } = await restoreShown(run, {
    stores: [store],
    name,
    stagingDir: join(staging, "unpacking"),
    targetDir: join(staging, "copy"),
    verb: "restoring",
    // Inspection does not write to the store. If the checkpoint is pruned meanwhile, the command reports that.
    reserveIn: () => false,
    accept: (one) =>
      Promise.resolve(one.format.kv === LEVEL_FORMAT || (judgeFormat(one, LEVEL_FORMAT) ?? true)),
    // The commands check the copy and report more.
    verify: () => Promise.resolve(),
  });
  return { source: name, manifest };
}

/** The copy no longer exists when the message is read, so the error names the original. */
function aboutOriginal(error: unknown, dir: string, source: string): unknown {
  if (!isCairnError(error)) return error;
  const { code, message, hint, cause } = error;
  const staging = dirname(dir);
  if (code === "DISK_FULL" && message.includes(staging)) {
    return new CairnError(code, `There is no space left in ${dirname(staging)} for a copy of ${source}.`, {
      hint: "Free some space, or name another folder with --staging. The incomplete copy was removed.",
      cause: error,
    });
  }
  if (!message.includes(dir)) return error;
  return new CairnError(code, message.replaceAll(dir, source), { ...omitUndefined({ hint }), cause });
}
