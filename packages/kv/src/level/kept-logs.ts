import { constants } from "node:fs";
import { copyFile, link, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ClassicLevel } from "classic-level";
import { isLinkRefusal, syncFolder } from "../disk/folders.ts";
import { errorMessage, isCairnError, systemErrorCode, unlessFailed } from "../errors/errors.ts";
import { readCurrentManifest } from "../files/current-manifest.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { recordsOf } from "../files/level-records.ts";
import { checkWriteAheadLogs, type LogEnd, neededLogs } from "../files/write-ahead-logs.ts";
import { type BatchChange, changesOf, keyText } from "../files/write-batch.ts";
import { isNewestInATable } from "../tables/last-value.ts";
import { innermost, locked } from "./level-errors.ts";
import { isLockedElsewhere, whileLocked } from "./directory-claim.ts";

/**
 * Checks the write-ahead logs of the database in `dir` before LevelDB opens it. Returns the result of {@link
 * checkWriteAheadLogs}; undefined if the result is unknown. Throws `INDEX_CORRUPT`, and `INDEX_LOCKED` if another
 * process writes the logs in the meantime.
 */
export async function checkLogsOnOpening(dir: string): Promise<readonly LogEnd[] | undefined> {
  const checked = unlessLocked(dir, () => checkWriteAheadLogs(dir));
  // LevelDB reports missing files more clearly.
  return await unlessFailed(checked, MISSING, undefined);
}

/** Throws `INDEX_LOCKED` if files disappear or change because another process has the database open. */
async function unlessLocked<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isMissing = MISSING.some((code) => code === systemErrorCode(error));
    const isExplained = isMissing || isCairnError(error, "INDEX_CORRUPT");
    throw isExplained && (await isLockedElsewhere(dir)) ? locked(dir, error) : error;
  }
}

const MISSING = ["ENOENT", "EISDIR"] as const;

type Database = ClassicLevel<Uint8Array, Uint8Array>;

/**
 * Runs `work` while no other process can open the database, which would move the logs on meanwhile. Without a temporary
 * folder, which that needs, it runs at once: a full disk must not keep a node from starting.
 */
async function lockedIfPossible<T>(dir: string, work: () => Promise<T>): Promise<T> {
  let isBegun = false;
  const begun = (): Promise<T> => {
    isBegun = true;
    return work();
  };
  try {
    return await whileLocked(dir, begun);
  } catch (error) {
    if (isBegun || isCairnError(error, "INDEX_LOCKED")) throw error;
    return await unlessLocked(dir, work);
  }
}

/** The pattern of LevelDB's message if it cannot see the file CURRENT, for whatever reason. */
const NOT_SEEN = /does not exist \(create_if_missing is false\)/;
/** The folder in a LevelDB database's directory with links to the write-ahead logs that must be recovered. */
export const KEPT_FOLDER = "unapplied";
export const PREPARING_FOLDER = "unapplied.tmp";

/** Throws the error that hid the file CURRENT from LevelDB; does nothing if the file is really missing. */
async function requireUnseen(dir: string): Promise<void> {
  if ((await unlessFailed(stat(join(dir, "CURRENT")), "ENOENT", undefined)) === undefined) return;
  throw Object.assign(new Error(`LevelDB could not examine ${join(dir, "CURRENT")}`), { code: "EIO" });
}

/** The known facts about a database before it is opened. */
export interface BeforeOpening {
  readonly exists: boolean;
  /** The ends of the write-ahead logs, which have been checked; undefined if they are unknown. */
  readonly ends: readonly LogEnd[] | undefined;
}

/**
 * Opens the database that `make` creates for `dir`, with everything in its write-ahead logs. After a failure, the
 * database is closed, and the next attempt to open it completes the recovery.
 */
export async function openKeepingLogs(
  make: () => Database,
  dir: string,
  { exists, ends = [] }: BeforeOpening,
): Promise<Database> {
  const settle = exists ? await lockedIfPossible(dir, () => keepLogs(dir, ends)) : undefined;
  // The database is not constructed earlier, because a ClassicLevel opens itself once it is constructed.
  const level = make();
  try {
    await level.open();
  } catch (error) {
    if (exists && NOT_SEEN.test(errorMessage(innermost(error)))) await requireUnseen(dir);
    throw error;
  }
  try {
    await settle?.(level);
  } catch (error) {
    await level.close();
    throw error;
  }
  return level;
}

/**
 * Keeps copies of the write-ahead logs of the closed LevelDB database in `dir`, which must have been checked. Returns a
 * function for the open database that is not yet in use: it applies what LevelDB skipped, and then removes the copies. Of
 * several processes that prepare to open the database, the one that opens it first removes them.
 *
 * LevelDB skips a write-ahead log that it cannot open or read (EMFILE, ENOMEM, EIO), reports no error, and removes the
 * file. Without another link to the file, a momentary lack of descriptors would lose everything in it. LevelDB makes
 * tables of each log that it reads, and skips everything after what it cannot read, so the last change of each log in a
 * table proves that it has read all of them. Without this proof, the batches are applied again. This is idempotent,
 * because a database that is not in use yet cannot contain anything newer.
 */
async function keepLogs(
  dir: string,
  ends: readonly LogEnd[],
): Promise<((level: Database) => Promise<void>) | undefined> {
  const kept = join(dir, KEPT_FOLDER);
  const preparing = join(dir, PREPARING_FOLDER);
  const removeCopies = async (): Promise<void> => {
    await rename(kept, preparing);
    await rm(preparing, { recursive: true, force: true });
    // If the copies reappeared after a power loss, they would overwrite newer data. The folder is flushed last, because
    // removed files need no flush.
    await syncFolder(dir);
  };
  await rm(preparing, { recursive: true, force: true });
  // If an attempt to open the database was interrupted, the copies that it left are the complete logs, and the logs in
  // `dir` may be parts of them.
  if (!(await readdir(dir)).includes(KEPT_FOLDER)) {
    const names = await logsToKeep(dir);
    if (names.length === 0) return undefined;
    await mkdir(preparing);
    for (const name of names) await share(join(dir, name), join(preparing, name));
    await rename(preparing, kept);
  }
  const numbers = levelFileNumbers(await readdir(kept), "log");
  return async (level) => {
    // Another process has opened the database in the meantime, recovered it, and closed it.
    if (!(await readdir(dir)).includes(KEPT_FOLDER)) return;
    if (!(await areRead(dir, numbers, ends))) await applyAgain(level, kept, numbers);
    await removeCopies();
  };
}

async function areRead(dir: string, numbers: readonly number[], ends: readonly LogEnd[]): Promise<boolean> {
  for (const number of numbers) {
    const end = ends.find(({ name }) => name === levelFileName(number, "log"));
    if (end === undefined || !(await isNewestInATable(dir, end.key, end.sequence))) return false;
  }
  return true;
}

/** Returns the names of the write-ahead logs that LevelDB reads when opening. */
async function logsToKeep(dir: string): Promise<readonly string[]> {
  const manifest = await unlessFailed(readCurrentManifest(dir), MISSING, undefined);
  // Without a manifest, LevelDB cannot open the database, and its error is clearer.
  return manifest === undefined ? [] : await neededLogs(dir, manifest);
}

async function share(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!isLinkRefusal(error)) throw error;
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}

/** The size of the changes that are compared, and of those that are written, together (bytes). */
const GROUP_BYTES = 1024 * 1024;

/**
 * Applies what the database lacks of the changes in the copies. On a full disk, each attempt would otherwise take what
 * was freed for it.
 */
async function applyAgain(level: Database, kept: string, numbers: readonly number[]): Promise<void> {
  // Only a key's last change counts, so each group corrects what was found for the groups before it.
  const missing = new Set<string>();
  for await (const group of groupsOf(kept, numbers)) {
    const last = new Map(group.map(({ key, value }) => [keyText(key), { key, value }]));
    // Neighbouring rows are in the same blocks of tables.
    for (const text of [...last.keys()].toSorted()) {
      const change = last.get(text);
      if (change === undefined || isSame(level.getSync(change.key), change.value)) missing.delete(text);
      else missing.add(text);
    }
  }
  if (missing.size === 0) return;
  for await (const group of groupsOf(kept, numbers)) {
    const again = level.batch();
    for (const { key, value } of group) {
      if (!missing.has(keyText(key))) continue;
      if (value === undefined) again.del(key);
      else again.put(key, value);
    }
    // The changes were durable before, so they must become durable again. Each group is synced: LevelDB closes a full
    // log unsynced, and the sync of a batch only concerns the log that the batch is in.
    await again.write({ sync: true });
  }
}

/** Yields the changes in the logs in order, in groups. */
async function* groupsOf(
  folder: string,
  numbers: readonly number[],
): AsyncGenerator<BatchChange[], void, undefined> {
  let group: BatchChange[] = [];
  let bytes = 0;
  for (const number of numbers) {
    // The logs were checked before they were copied, so damage is a tail that was never written.
    const { records } = recordsOf(await readFile(join(folder, levelFileName(number, "log"))));
    for (const { payload: batch } of records) {
      group.push(...changesOf(batch));
      bytes += batch.length;
      if (bytes < GROUP_BYTES) continue;
      yield group;
      group = [];
      bytes = 0;
    }
  }
  if (group.length > 0) yield group;
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one === undefined || other === undefined ? one === other : Buffer.compare(one, other) === 0;
}
