import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { checkTable } from "./check-table.ts";
import { CairnError, indexCorrupt, unlessFailed } from "../errors/errors.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { readCurrentManifest } from "../files/current-manifest.ts";
import { type LevelManifest, type LevelTable, needsLog } from "../files/level-manifest.ts";
import type { KvScrub } from "../store/kv-store.ts";
import { Inbox } from "../concurrency/inbox.ts";
import { wait } from "../concurrency/timer.ts";
import {
  MIN_BYTES_FOR_THREAD,
  receiveError,
  type SentError,
  ThreadModule,
} from "../concurrency/worker-thread.ts";

/** The share of a processor that background checks use. Writers and readers of the same process have priority. */
const BACKGROUND_SHARE = 0.25;

const CHECKING = new ThreadModule(import.meta.url, "check-worker");

/**
 * Compares with their checksums the tables that the open LevelDB database in `dir` has at the time of the call. It does
 * so slowly and, if they are large, on a thread with low priority. Throws `INDEX_CORRUPT` for the first damaged table.
 * Returns early when `signal` is aborted.
 */
export async function checkLiveTables(dir: string, signal: AbortSignal): Promise<void> {
  // Only tables that the manifest names are compared, because others may be incomplete.
  const { numbers, bytes } = await liveTables(dir);
  if (signal.aborted) return;
  if (bytes >= MIN_BYTES_FOR_THREAD) return await checkOnThread({ dir, numbers, isUrgent: false }, signal);
  try {
    await checkTables({ dir, numbers }, async (path) =>
      checkTable(path, async (busyMs) => {
        await wait(pauseMsAfter(busyMs), signal, { background: true });
        signal.throwIfAborted();
      }),
    );
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/**
 * Compares with their checksums the manifest of the open LevelDB database in `dir`, and every block of the tables that
 * the database has at the time of the call. Returns the number of table bytes compared. Tables that a compaction
 * removes in the meantime are skipped. Throws `INDEX_CORRUPT` for the first file that is damaged or missing, the
 * system's error for a file that cannot be read, and the reason of `signal` once it is aborted. The caller limits the
 * rate in `pause`. {@link checkTable} determines how much is read at a time.
 *
 * Write-ahead logs are not compared: their rows are served from memory, and the logs are checked before they are next
 * read, when the database is opened.
 */
export async function scrubTables(dir: string, { pause, signal }: KvScrub): Promise<number> {
  const { tables, bytes: total } = await liveTables(dir);
  let passed = 0;
  let compared = 0;
  for (const { number, bytes: size } of tables) {
    let read = 0;
    const pauseAfter = async (_busyMs: number, bytes: number): Promise<void> => {
      read += bytes;
      await pause(passed + read, total, signal);
      signal.throwIfAborted();
    };
    signal.throwIfAborted();
    const isThere = await withTable(dir, number, (path) => checkTable(path, pauseAfter));
    if (isThere) compared += size;
    // LevelDB removes a table from the manifest before it removes the file.
    else if ((await liveTables(dir)).numbers.includes(number)) {
      throw indexCorrupt(
        `The table ${join(dir, levelFileName(number, "ldb"))} is missing.`,
        undefined,
        "Find out what removed the file. The node moves the index aside and rebuilds it.",
      );
    }
    passed += size;
  }
  return compared;
}

/** The LevelDB database and the tables to compare. An urgent check neither pauses nor yields to other threads. */
export interface CheckOrder {
  readonly dir: string;
  readonly numbers: readonly number[];
  readonly isUrgent: boolean;
}

/** Sent by the thread: the bytes of each undamaged table; finally that all are undamaged, or the failure. */
export interface CheckReport {
  readonly checked?: number;
  readonly failed?: SentError;
  readonly isDone?: true;
}

export function pauseMsAfter(busyMs: number): number {
  return busyMs * (1 / BACKGROUND_SHARE - 1);
}

/** Calls `check` with the path of each table that still exists; a compaction may have removed some in the meantime. */
export async function checkTables(
  { dir, numbers }: Omit<CheckOrder, "isUrgent">,
  check: (path: string) => Promise<void>,
): Promise<void> {
  for (const number of numbers) await withTable(dir, number, check);
}

/** Calls `work` with the path of a table. Returns false if it does not exist. */
export async function withTable(
  dir: string,
  number: number,
  work: (path: string) => Promise<void>,
): Promise<boolean> {
  const worked = work(join(dir, levelFileName(number, "ldb"))).then(() => true);
  return await unlessFailed(worked, "ENOENT", false);
}

/**
 * Compares tables on a worker thread, and calls `onChecked` with the size of each undamaged one. Throws `INDEX_CORRUPT`
 * for the first damaged table. Returns early when `signal` is aborted.
 */
export async function checkOnThread(
  order: CheckOrder,
  signal: AbortSignal,
  onChecked: (bytes: number) => void = () => {},
): Promise<void> {
  const reports = new Inbox<CheckReport>();
  const worker = CHECKING.start(order, reports);
  worker.on("exit", () => reports.fail(CHECKING.failure()));
  // The thread must not keep the process alive.
  worker.unref();
  const stop = (): void => void worker.terminate();
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (let report = await reports.take(); report.isDone !== true; report = await reports.take()) {
      if (report.failed !== undefined) throw receiveError(report.failed);
      onChecked(report.checked ?? 0);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

/**
 * Returns the file names of the live tables of the closed LevelDB database in `dir`. Other tables may exist, because an
 * interrupted compaction, even one that began when the database was opened, leaves an incomplete table behind. Throws
 * `CHECKPOINT_INCOMPLETE` if a live table is missing, because the others would look like a database with fewer rows.
 */
export async function liveTableNames(dir: string): Promise<Set<string>> {
  const live = await liveManifest(dir);
  if (live === undefined) throw incomplete(dir, "its file CURRENT, or the manifest that CURRENT names");
  const existing = new Set(await readdir(dir));
  const names = new Set<string>();
  for (const number of live.tables.keys()) {
    const name = levelFileName(number, "ldb");
    if (!existing.has(name)) throw incomplete(dir, `the table ${name}`);
    names.add(name);
  }
  return names;
}

function incomplete(dir: string, what: string): CairnError {
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `The capture in ${dir} lacks ${what}.`,
    "Find the program that removed it. Nothing was published, and the next checkpoint starts afresh.",
  );
}

/** How often the files of an open database are listed again, because LevelDB may just have replaced some of them. */
const MAX_LISTINGS = 3;

/**
 * Returns whether the LevelDB database in `dir`, which is open, lacks a live table or the write-ahead log to which it
 * writes: what it holds open would be gone with it.
 */
export async function lacksLiveFiles(dir: string): Promise<boolean> {
  for (let listings = 0; listings < MAX_LISTINGS; listings += 1) {
    const manifest = await liveManifest(dir);
    const names = await readdir(dir);
    const existing = new Set(levelFileNumbers(names, "ldb"));
    const hasLog = levelFileNumbers(names, "log").some((log) => manifest && needsLog(manifest, log));
    if (hasLog && [...(manifest?.tables.keys() ?? [])].every((table) => existing.has(table))) return false;
  }
  return true;
}

/** The tables that the manifest of the LevelDB database in `dir` names. There are none if there is no database. */
export async function liveTables(dir: string): Promise<{
  readonly tables: readonly LevelTable[];
  readonly numbers: readonly number[];
  readonly bytes: number;
}> {
  const tables = [...((await liveManifest(dir))?.tables.values() ?? [])];
  const numbers = tables.map(({ number }) => number);
  return { tables, numbers, bytes: tables.reduce((sum, { bytes }) => sum + bytes, 0) };
}

async function liveManifest(dir: string): Promise<LevelManifest | undefined> {
  return await unlessFailed(readCurrentManifest(dir), "ENOENT", undefined);
}
