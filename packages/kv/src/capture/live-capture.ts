import { constants } from "node:fs";
import { copyFile, link, readdir, readFile, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inParallel } from "../concurrency/in-parallel.ts";
import { isLinkRefusal, makeFolder } from "../disk/folders.ts";
import { CairnError, indexCorrupt, isCairnError, systemErrorCode } from "../errors/errors.ts";
import { manifestNameIn } from "../files/current-manifest.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import {
  decodeManifestFile,
  encodeLevelManifest,
  type LevelManifest,
  needsLog,
} from "../files/level-manifest.ts";
import type { KvCapture } from "../store/kv-store.ts";
import { checkTable } from "../tables/check-table.ts";

/** The calls of a capture with which a wrapper can interfere. They throw the errors of node:fs. */
export const captureFileSystem = {
  list: async (path: string): Promise<string[]> => await readdir(path),
  read: async (path: string): Promise<Uint8Array> => await readFile(path),
  /** Throws `EEXIST` if the file exists, since it could be a link to a file that the source uses. */
  write: async (path: string, bytes: Uint8Array): Promise<void> =>
    await writeFile(path, bytes, { flag: "wx" }),
  link: async (source: string, target: string): Promise<void> => await link(source, target),
  copy: async (source: string, target: string, mode: number): Promise<void> =>
    await copyFile(source, target, mode),
};

export type CaptureFileSystem = typeof captureFileSystem;

/** Options for a capture. Only tests need different limits or a different file system. */
export interface CaptureOptions {
  readonly fileSystem?: CaptureFileSystem;
  /**
   * The maximum number of attempts, each of which copies the logs again (default 20), and the maximum number of
   * manifest reads per attempt (default 100).
   */
  readonly maxStarts?: number;
  readonly maxReads?: number;
  /** If true, the caller must compare the tables with their checksums before it uses the copy. Defaults to false. */
  readonly unchecked?: boolean;
}

// The writer's batches use the same four threads as these calls, so more concurrent links would make it wait.
const PARALLEL_LINKS = 4;

/**
 * Copies the LevelDB database in `source`, which may be open and in use, into `target`, which it creates (`CONFLICT` if
 * it is not empty). The copy is a prefix of the batch history that contains everything written before the call. Tables
 * are shared by hard links if the file system supports them. The source is not affected when the copy is opened,
 * written to or removed. After a failure, everything that was created is removed. Throws `INDEX_CORRUPT` (`source`
 * contains no complete database, or a damaged one), `DISK_FULL`, and `CHECKPOINT_INCOMPLETE` (files vanished
 * repeatedly).
 */
export async function captureLevelDb(
  source: string,
  target: string,
  options: CaptureOptions = {},
): Promise<KvCapture> {
  const files = options.fileSystem ?? captureFileSystem;
  const created = (await makeFolder(target)) !== undefined;
  requireNone(await files.list(target), target);
  const place = captureTarget(source, target, files);
  try {
    const tables = await capture(place, options.maxStarts ?? 20, options.maxReads ?? 100);
    // A damaged table must not spread to the nodes that restore it.
    if (options.unchecked !== true) for (const table of tables) await checkTable(join(target, table));
    return place.summary();
  } catch (error) {
    for (const name of place.names()) await place.remove(name);
    // It is not removed if it contains foreign files.
    if (created) await rmdir(target);
    const code = systemErrorCode(error);
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    throw new CairnError("DISK_FULL", `There is no space left to capture the index into ${target}.`, {
      hint: "Free some space. If checkpoint-dir is on the file system of the index, a capture copies only its write-ahead log (the files *.log).",
      cause: error,
    });
  }
}

/** Throws `CONFLICT` if the directory `dir`, which is to be captured into, contains anything. */
export function requireNone(names: readonly string[], dir: string): void {
  if (names.length === 0) return;
  throw new CairnError(
    "CONFLICT",
    `Nothing was captured into ${dir}, because it is not empty.`,
    "Choose an empty directory, or one that does not exist.",
  );
}

/** Returns the names of the tables in the copy. */
async function capture(place: CaptureTarget, maxStarts: number, maxReads: number): Promise<string[]> {
  // The links are kept for the next attempt, because most tables are still live.
  const tables = new Set<number>();
  for (let start = 0; start < maxStarts; start++) {
    const logs = await copyLogs(place);
    const current = await linkTables(place, logs, tables, maxReads);
    if (current !== undefined) {
      const { manifest, name } = current;
      for (const log of logs.copied) {
        if (!needsLog(manifest, log)) await place.remove(levelFileName(log, "log"));
      }
      // The source's manifest has all edits since it was opened, which may be tens of megabytes.
      await place.write(name, encodeLevelManifest(manifest));
      // CURRENT comes last, because it turns the directory into a database.
      await place.write("CURRENT", Buffer.from(`${name}\n`));
      return [...tables].map((number) => levelFileName(number, "ldb"));
    }
    for (const log of logs.copied) await place.remove(levelFileName(log, "log"));
  }
  throw new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `The files in ${place.source} changed faster than they were captured.`,
    "Find the program that removes files there, and stop it. The index itself is intact, and the next checkpoint starts afresh.",
  );
}

/** The copied write-ahead logs, and logs that are known to exist or to have existed but were not copied. */
interface CopiedLogs {
  readonly copied: readonly number[];
  readonly absent: readonly number[];
}

/**
 * Copies the logs before the manifest is read: a memtable that is flushed between the two is then in both. In the
 * opposite order, its rows would be missing without any sign of it: the manifest would not name their table, and their
 * log would no longer exist.
 */
async function copyLogs(place: CaptureTarget): Promise<CopiedLogs> {
  const copied: number[] = [];
  const absent: number[] = [];
  // The newest log is copied first, because a log is complete once there is a newer one. It is copied, not linked,
  // because the database still writes to it.
  for (const log of levelFileNumbers(await listSource(place), "log").toReversed()) {
    const whole = await place.copy(levelFileName(log, "log"));
    (whole ? copied : absent).push(log);
  }
  // A listing may miss a log that was created while the listing ran, even if it shows a newer one. A second listing is
  // certain to show that log. It must come before the manifest is read: a log that is flushed between the manifest and
  // the listing is needed but no longer listed.
  const newest = copied[0] ?? 0;
  for (const log of levelFileNumbers(await place.files.list(place.source), "log")) {
    if (log < newest && !copied.includes(log)) absent.push(log);
  }
  return { copied, absent };
}

async function listSource({ source, files }: CaptureTarget): Promise<readonly string[]> {
  try {
    return await files.list(source);
  } catch (error) {
    throw systemErrorCode(error) === "ENOENT" ? noDatabase(source, error) : error;
  }
}

function noDatabase(source: string, cause: unknown): CairnError {
  const hint =
    "Specify the directory that contains the file CURRENT, or restore the index from a checkpoint.";
  return indexCorrupt(`There is no complete LevelDB database in ${source}.`, cause, hint);
}

interface CapturedManifest {
  readonly name: string;
  readonly manifest: LevelManifest;
}

/**
 * Links exactly the live tables. If the copy contained another table, LevelDB could reuse its number when opening the
 * copy, and truncate a file that the source uses. Returns undefined if an absent log is needed after all.
 */
async function linkTables(
  place: CaptureTarget,
  logs: CopiedLogs,
  tables: Set<number>,
  maxReads: number,
): Promise<CapturedManifest | undefined> {
  for (let read = 0; read < maxReads; read++) {
    const current = await readManifest(place);
    const { manifest } = current;
    if (logs.absent.some((log) => needsLog(manifest, log))) return undefined;
    for (const number of tables) {
      if (manifest.tables.has(number)) continue;
      await place.remove(levelFileName(number, "ldb"));
      tables.delete(number);
    }
    let gone = false;
    await inParallel(manifest.tables.values(), PARALLEL_LINKS, async ({ number, bytes }) => {
      if (gone || tables.has(number)) return;
      if (await place.share(levelFileName(number, "ldb"), bytes)) tables.add(number);
      else gone = true;
    });
    if (!gone) return current;
  }
  // The capture starts again, as it does if a needed log is missing, or fails after too many starts.
  return undefined;
}

async function readManifest({ source, files }: CaptureTarget): Promise<CapturedManifest> {
  for (let tries = 1; ; tries++) {
    let name: string | undefined;
    try {
      const current = join(source, "CURRENT");
      name = manifestNameIn(current, await files.read(current));
      const path = join(source, name);
      return { name, manifest: decodeManifestFile(path, await files.read(path)) };
    } catch (error) {
      // Opening a database replaces its manifest, so one failure may be a coincidence, but three are not.
      const missing = systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "EISDIR";
      if (!missing && !isCairnError(error, "INDEX_CORRUPT")) throw error;
      if (tries < 3) continue;
      if (!missing) throw error;
      if (name === undefined) throw noDatabase(source, error);
      const lacks = `lacks the manifest ${name}, which its file CURRENT names`;
      throw indexCorrupt(`The database in ${source} ${lacks}.`, error);
    }
  }
}

type CaptureTarget = ReturnType<typeof captureTarget>;

/** The directory that a capture fills. Keeps track of its files, to count them and to remove them after a failure. */
function captureTarget(source: string, target: string, files: CaptureFileSystem) {
  /** All files in the target, with their sizes. A failed capture must remove them. */
  const sizes = new Map<string, number>();
  /** The tables, by whether they were linked or copied. The manifest, CURRENT and the logs are in neither set. */
  const linked = new Set<string>();
  const copied = new Set<string>();
  /** Whether to try links. False once the file system has refused a link for a reason that applies to every file. */
  let linksWork = true;

  async function remove(name: string): Promise<void> {
    await rm(join(target, name), { force: true });
    sizes.delete(name);
    linked.delete(name);
    copied.delete(name);
  }

  /** The copy is at least as long as the file was at the call. Returns false if the source no longer contains the file. */
  async function copy(name: string, mode = 0): Promise<boolean> {
    // The file is recorded before it is complete, so that an incomplete copy is removed as well.
    sizes.set(name, 0);
    try {
      await files.copy(join(source, name), join(target, name), mode);
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      await remove(name);
      return false;
    }
    sizes.set(name, (await stat(join(target, name))).size);
    return true;
  }

  return {
    source,
    files,
    copy,
    remove,
    names: (): string[] => [...sizes.keys()],
    /** Shares a file that no longer changes. Returns false if the source no longer contains the file. */
    async share(name: string, bytes: number): Promise<boolean> {
      if (linksWork) {
        try {
          await files.link(join(source, name), join(target, name));
          sizes.set(name, bytes);
          linked.add(name);
          return true;
        } catch (error) {
          const code = systemErrorCode(error);
          if (code === "ENOENT") return false;
          if (!isLinkRefusal(error)) throw error;
          // A link limit applies to one file; any other refusal applies to every file.
          if (code !== "EMLINK") linksWork = false;
        }
      }
      // The copy shares blocks with the source if the file system supports that. Otherwise, it is a plain copy.
      if (!(await copy(name, constants.COPYFILE_FICLONE))) return false;
      copied.add(name);
      return true;
    },
    async write(name: string, bytes: Uint8Array): Promise<void> {
      sizes.set(name, bytes.length);
      await files.write(join(target, name), bytes);
    },
    summary(): KvCapture {
      const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
      return { linked: linked.size, copied: copied.size, bytes };
    },
  };
}
