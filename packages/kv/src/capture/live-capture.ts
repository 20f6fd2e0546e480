import { join } from "node:path";
import { captureFileSystem } from "./capture-file-system.ts";
import type { CaptureFileSystem } from "./capture-file-system.ts";
import { CaptureTarget } from "./capture-target.ts";
import { checkTable } from "../tables/check-table.ts";
import { CairnError, isCairnError, systemErrorCode } from "../errors/errors.ts";
import { inParallel } from "../concurrency/in-parallel.ts";
import type { KvCapture } from "../store/kv-store.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { manifestNameIn } from "../files/current-manifest.ts";
import { decodeManifestFile, needsLog } from "../files/level-manifest.ts";
import type { LevelManifest } from "../files/level-manifest.ts";

/** How to capture; the defaults are right outside of tests. */
export interface CaptureOptions {
  readonly fileSystem?: CaptureFileSystem;
  /** How often to begin with the logs (20), and for one copy of them to read the manifest (100), before giving up. */
  readonly maxStarts?: number;
  readonly maxReads?: number;
  /** Whether the tables' checksums are left to the caller, who must compare them before the copy goes anywhere. */
  readonly unchecked?: boolean;
}

// The writer's batches run in the same four threads as these calls: more at a time would make it wait.
const PARALLEL_LINKS = 4;

/**
 * Copies the LevelDB in `source`, which may be open and written to, into `target` (made by it; if it is there it must
 * be empty, else `CONFLICT`). The copy is a prefix of the batch history with at least what was written before the
 * call. Tables are shared by hard links where the file system can; the copy may be opened, written to and removed
 * without the source noticing. On failure what it made is removed: `INDEX_CORRUPT` (no whole or a damaged database in `source`),
 * `DISK_FULL`, `CHECKPOINT_INCOMPLETE` (files kept vanishing).
 */
export async function captureLevelDb(
  source: string,
  target: string,
  options: CaptureOptions = {},
): Promise<KvCapture> {
  const files = options.fileSystem ?? captureFileSystem;
  const created = await files.makeDirectory(target);
  if ((await files.list(target)).length > 0) {
    throw new CairnError("CONFLICT", `Nothing was captured into ${target}, because it is not empty.`, {
      hint: "Give an empty directory, or one that does not exist.",
    });
  }
  const place = new CaptureTarget(source, target, files);
  try {
    const tables = await capture(source, place, files, options.maxStarts ?? 20, options.maxReads ?? 100);
    // A damaged table must not spread to every node that restores it.
    if (options.unchecked !== true) for (const table of tables) await checkTable(join(target, table));
    return place.summary();
  } catch (error) {
    for (const name of place.names()) await place.remove(name);
    if (created) await files.removeDirectory(target);
    const code = systemErrorCode(error);
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    throw new CairnError("DISK_FULL", `There is no space left to capture the index into ${target}.`, {
      hint: "Free some space, or capture into a directory on the file system of the index, where it takes next to none.",
      cause: error,
    });
  }
}

/** Answers the names of the tables in the copy. */
async function capture(
  source: string,
  place: CaptureTarget,
  files: CaptureFileSystem,
  maxStarts: number,
  maxReads: number,
): Promise<Iterable<string>> {
  // Kept when it begins again: most tables are still live then.
  const tables = new Map<number, string>();
  for (let start = 0; start < maxStarts; start++) {
    const logs = await copyLogs(source, place, files);
    const current = await linkTables(source, place, files, logs, tables, maxReads);
    if (current !== undefined) {
      const { manifest, name, bytes } = current;
      for (const log of logs.copied) {
        if (!needsLog(manifest, log)) await place.remove(levelFileName(log, "log"));
      }
      // What follows the last whole edit is one that was being written when the file was read.
      await place.write(name, bytes.subarray(0, manifest.end));
      // Last, since a directory with it is a database.
      await place.write("CURRENT", Buffer.from(`${name}\n`));
      return tables.values();
    }
    for (const log of logs.copied) await place.remove(levelFileName(log, "log"));
  }
  throw new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `The files in ${source} changed faster than they were captured.`,
    {
      hint: "The index itself is fine and the next checkpoint tries again; look for another program that removes files there.",
    },
  );
}

/** Write-ahead logs that were copied, and those known to exist, or to have existed, that were not. */
interface CopiedLogs {
  readonly copied: readonly number[];
  readonly absent: readonly number[];
}

/**
 * The logs come before the manifest: a memtable flushed between the two is then in both. The other way round its rows
 * would be in a table that the manifest in hand does not name, and in a log that is gone, and nothing would tell.
 */
async function copyLogs(source: string, place: CaptureTarget, files: CaptureFileSystem): Promise<CopiedLogs> {
  const copied: number[] = [];
  const absent: number[] = [];
  // Newest first: a log is complete once there is a newer one. Copied, since the database goes on writing to it.
  for (const log of levelFileNumbers(await listSource(source, files), "log").toReversed()) {
    const whole = await place.copy(levelFileName(log, "log"));
    (whole ? copied : absent).push(log);
  }
  // A listing may miss a log made while it ran and show a newer one: a hole. A second one shows it for certain, if it
  // comes before the manifest: a log flushed between manifest and listing would be needed, but no longer be listed.
  const newest = copied[0] ?? 0;
  for (const log of levelFileNumbers(await files.list(source), "log")) {
    if (log < newest && !copied.includes(log)) absent.push(log);
  }
  return { copied, absent };
}

async function listSource(source: string, files: CaptureFileSystem): Promise<readonly string[]> {
  try {
    return await files.list(source);
  } catch (error) {
    throw systemErrorCode(error) === "ENOENT" ? noDatabase(source, error) : error;
  }
}

function noDatabase(source: string, cause: unknown): CairnError {
  return new CairnError("INDEX_CORRUPT", `There is no whole LevelDB database in ${source}.`, {
    hint: "Name the directory that holds the file CURRENT, or restore the index from a checkpoint.",
    cause,
  });
}

/** CURRENT is there, and what it says is not. */
function noManifest(source: string, name: string, cause: unknown): CairnError {
  const message = `The database in ${source} lacks the manifest ${name}, which its file CURRENT names.`;
  return new CairnError("INDEX_CORRUPT", message, {
    hint: "Restore the index from a checkpoint; the transaction log has everything that is in it.",
    cause,
  });
}

/** The manifest that CURRENT names. `bytes` is what the copy gets: reading it again could give a newer one. */
interface CurrentManifest {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly manifest: LevelManifest;
}

/**
 * Links exactly the live tables: with another table in the copy, whose number may be one that the copy gives out next,
 * opening it would truncate a file that the source uses. Undefined when an absent log is needed after all.
 */
async function linkTables(
  source: string,
  place: CaptureTarget,
  files: CaptureFileSystem,
  logs: CopiedLogs,
  tables: Map<number, string>,
  maxReads: number,
): Promise<CurrentManifest | undefined> {
  for (let read = 0; read < maxReads; read++) {
    const current = await readManifest(source, files);
    const { manifest } = current;
    if (logs.absent.some((log) => needsLog(manifest, log))) return undefined;
    for (const [number, name] of tables) {
      if (manifest.tables.has(number)) continue;
      await place.remove(name);
      tables.delete(number);
    }
    let gone = false;
    await inParallel(manifest.tables, PARALLEL_LINKS, async ([number, size]) => {
      if (gone || tables.has(number)) return;
      const name = await shareTable(place, number, size);
      if (name === undefined) gone = true;
      else tables.set(number, name);
    });
    if (!gone) return current;
  }
  // Handled like a needed log that is absent: begin anew, or give up when that was done often enough.
  return undefined;
}

async function shareTable(place: CaptureTarget, number: number, size: number): Promise<string | undefined> {
  for (const extension of ["ldb", "sst"] as const) {
    const name = levelFileName(number, extension);
    if (await place.share(name, size)) return name;
  }
  return undefined;
}

async function readManifest(source: string, files: CaptureFileSystem): Promise<CurrentManifest> {
  for (let tries = 1; ; tries++) {
    let name: string | undefined;
    try {
      const current = join(source, "CURRENT");
      name = manifestNameIn(current, await files.read(current));
      const bytes = await files.read(join(source, name));
      return { name, bytes, manifest: decodeManifestFile(join(source, name), bytes) };
    } catch (error) {
      // Opening a database replaces its manifest, so one failure may be chance; three are not.
      const missing = systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "EISDIR";
      if (!missing && !isCairnError(error, "INDEX_CORRUPT")) throw error;
      if (tries < 3) continue;
      if (!missing) throw error;
      throw name === undefined ? noDatabase(source, error) : noManifest(source, name, error);
    }
  }
}
