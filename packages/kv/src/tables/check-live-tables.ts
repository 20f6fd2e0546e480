import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { checkTable } from "./check-table.ts";
import { CairnError, systemErrorCode } from "../errors/errors.ts";
import { levelFileName } from "../files/level-files.ts";
import { readCurrentManifest } from "../files/current-manifest.ts";
import type { LevelManifest } from "../files/level-manifest.ts";
import { inboxOf } from "../concurrency/inbox.ts";
import { receiveError, startWorker, WORTH_A_THREAD } from "../concurrency/worker-thread.ts";
import type { SentError } from "../concurrency/worker-thread.ts";

// Of a processor's time: the writer and the readers in the same process come first.
const SHARE = 0.25;
/** Of tables, the second one of old versions. */
const EXTENSIONS = ["ldb", "sst"] as const;

/**
 * Compares the tables that the open LevelDB in `dir` has at the call with their checksums, without haste and, when they are large,
 * on a thread of a low priority. Throws `INDEX_CORRUPT` for the first that is damaged; returns early when `signal` is aborted.
 */
export async function checkLiveTables(dir: string, signal: AbortSignal): Promise<void> {
  // Only what the manifest names: other tables may be ones that are being written.
  const tables = await liveTables(dir);
  // A directory that was taken away is no damage in what was there.
  if (tables === undefined) return;
  let bytes = 0;
  for (const size of tables.values()) bytes += size;
  const numbers = [...tables.keys()];
  if (signal.aborted) return;
  if (bytes >= WORTH_A_THREAD) return await checkOnThread({ dir, numbers, isUrgent: false }, signal);
  try {
    await checkTables({ dir, numbers }, async (path) =>
      checkTable(path, async (busyMs) => {
        await delay(restAfter(busyMs), undefined, { signal, ref: false });
      }),
    );
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Which tables of which LevelDB to compare. */
export interface CheckOrder {
  readonly dir: string;
  /** As in the files' names. */
  readonly numbers: readonly number[];
}

/** The same for a thread: an urgent one neither rests nor lets others go first. */
export interface ThreadCheckOrder extends CheckOrder {
  readonly isUrgent: boolean;
}

/** What the thread sends: the bytes of each table that is whole, and at the end that all are, or what one failed with. */
export interface CheckReport {
  readonly checked?: number;
  readonly failed?: SentError;
  readonly isDone?: true;
}

/** How long to rest after so much work (ms). */
export function restAfter(busyMs: number): number {
  return busyMs * (1 / SHARE - 1);
}

/** Has `check` look at each table that is still there; one that a compaction removed meanwhile is passed over. */
export async function checkTables(
  { dir, numbers }: CheckOrder,
  check: (path: string) => Promise<void>,
): Promise<void> {
  for (const number of numbers) await withTable(dir, number, check);
}

/** Does `work` with the path of a table, under either of the names that it may have; false where there is none. */
export async function withTable(
  dir: string,
  number: number,
  work: (path: string) => Promise<void>,
): Promise<boolean> {
  for (const extension of EXTENSIONS) {
    try {
      await work(join(dir, levelFileName(number, extension)));
      return true;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
    }
  }
  return false;
}

/**
 * Compares tables on a thread. Throws `INDEX_CORRUPT` for the first that is damaged; returns early when `signal` is aborted. `onChecked`
 * is told the bytes of each table that is whole.
 */
export async function checkOnThread(
  order: ThreadCheckOrder,
  signal: AbortSignal,
  onChecked: (bytes: number) => void = () => {},
): Promise<void> {
  const worker = startWorker(import.meta.url, "check-worker", order);
  // Nobody has to wait for it.
  worker.unref();
  const stop = (): void => void worker.terminate();
  signal.addEventListener("abort", stop, { once: true });
  try {
    const reports = inboxOf<CheckReport>(worker, endedEarly);
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

function endedEarly(): Error {
  return new Error("The thread that compares tables with their checksums ended early.");
}

/**
 * The files of tables that the LevelDB in `dir`, which nobody has open, consists of. Others may lie there: a compaction that was
 * broken off, also one that began when the database was merely opened, leaves half a table. `CHECKPOINT_INCOMPLETE` when one is
 * not there: without it the rest would look like a whole database with fewer rows.
 */
export async function liveTableNames(dir: string): Promise<Set<string>> {
  return new Set((await liveTableBounds(dir)).keys());
}

/** The same, each with the keys of its first and its last row. */
export async function liveTableBounds(dir: string): Promise<Map<string, readonly [Uint8Array, Uint8Array]>> {
  const live = (await liveManifest(dir))?.bounds;
  if (live === undefined) throw incomplete(dir, "its CURRENT, or the manifest that this names");
  const there = new Set(await readdir(dir));
  const names = new Map<string, readonly [Uint8Array, Uint8Array]>();
  for (const [number, bounds] of live) {
    const found = EXTENSIONS.map((extension) => levelFileName(number, extension)).find((name) =>
      there.has(name),
    );
    if (found === undefined) throw incomplete(dir, `the table ${levelFileName(number, "ldb")}`);
    names.set(found, bounds);
  }
  return names;
}

function incomplete(dir: string, what: string): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", `The capture in ${dir} lacks ${what}.`, {
    hint: "Another program removed it; nothing was published, and the next checkpoint begins anew.",
  });
}

/** The tables that the manifest of the LevelDB in `dir` names: number → bytes. Undefined when there is no database. */
export async function liveTables(dir: string): Promise<ReadonlyMap<number, number> | undefined> {
  return (await liveManifest(dir))?.tables;
}

async function liveManifest(dir: string): Promise<LevelManifest | undefined> {
  try {
    return (await readCurrentManifest(dir)).manifest;
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
