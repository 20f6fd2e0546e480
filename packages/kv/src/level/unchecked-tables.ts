import { link, mkdir, readdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { inParallel } from "../concurrency/in-parallel.ts";
import { WORTH_A_THREAD } from "../concurrency/worker-thread.ts";
import { systemErrorCode } from "../errors/errors.ts";
import { levelFileNumbers } from "../files/level-files.ts";
import { checkOnThread, checkTables, liveTables, withTable } from "../tables/check-live-tables.ts";
import { checkTableAtOnce } from "../tables/check-table.ts";
import { NO_LINKS } from "./kept-logs.ts";

/** In the directory of a LevelDB, which leaves folders alone. */
export const UNCHECKED_FOLDER = "unchecked";
const PARALLEL_LINKS = 4;
const MAX_THREADS = 4;

/** Tables that are still to be compared with their checksums. */
export interface UncheckedTables {
  /** A folder of links to them. */
  readonly dir: string;
  readonly numbers: readonly number[];
  /** Of all of them, about. */
  readonly bytes: number;
}

/**
 * Compares the tables of the closed LevelDB in `dir` with their checksums, or, when they are large, links them to a folder and returns
 * what {@link checkUnchecked} has to compare while the database is in use. Without the links a compaction could rewrite the rows that
 * damage left visible, with right checksums, and remove the damaged table before it was looked at. Where a process left links, since it
 * ended before that, all tables are compared at once, and those links. Throws `INDEX_CORRUPT`, and the system's errors.
 */
export async function checkBeforeOpening(dir: string): Promise<UncheckedTables | undefined> {
  const tables = await liveTables(dir);
  // What LevelDB itself misses, it names better.
  if (tables === undefined) return undefined;
  const folder = join(dir, UNCHECKED_FOLDER);
  const left = await namesIn(folder);
  let bytes = 0;
  for (const size of tables.values()) bytes += size;
  const live = [...tables.keys()];
  if (left.length === 0 && bytes < WORTH_A_THREAD) {
    await checkTables({ dir, numbers: live }, checkWhole);
    return undefined;
  }
  await mkdir(folder, { recursive: true });
  // Over a key that is damaged LevelDB ends the process, perhaps as soon as it is open: the one that left links may have ended so.
  if (left.length === 0 && (await linkAll(dir, live, folder))) return { dir: folder, numbers: live, bytes };
  const { signal } = new AbortController();
  await checkOnThreads(dir, live, signal);
  const earlier = [...levelFileNumbers(left, "ldb"), ...levelFileNumbers(left, "sst")];
  await checkUnchecked({ dir: folder, numbers: earlier, bytes }, signal);
  return undefined;
}

/**
 * Compares them on threads and removes their links. Throws `INDEX_CORRUPT`, and the system's errors; the links then stay, as they do when
 * `signal` is aborted. `onChecked` is told the bytes of each table.
 */
export async function checkUnchecked(
  { dir, numbers }: UncheckedTables,
  signal: AbortSignal,
  onChecked?: (bytes: number) => void,
): Promise<void> {
  await checkOnThreads(dir, numbers, signal, onChecked);
  if (!signal.aborted) await rm(dir, { recursive: true, force: true });
}

/** As many at a time as there are processors: a node waits for it. The first failure ends all. */
async function checkOnThreads(
  dir: string,
  numbers: readonly number[],
  signal: AbortSignal,
  onChecked?: (bytes: number) => void,
): Promise<void> {
  const threads = Math.min(MAX_THREADS, availableParallelism());
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  await inParallel(Array.from({ length: threads }).keys(), threads, async (thread) => {
    try {
      const own = numbers.filter((_, at) => at % threads === thread);
      await checkOnThread({ dir, numbers: own, isUrgent: true }, either, onChecked);
    } catch (error) {
      failed.abort();
      throw error;
    }
  });
}

/** In this thread, which reads small files at twice the speed at which it asks others to; what else the process does gets its turn after each. */
async function checkWhole(path: string): Promise<void> {
  await checkTableAtOnce(path, () => Promise.resolve());
  await setImmediate();
}

/** Whether the file system has links; a table that is not there is left for LevelDB to miss. */
async function linkAll(dir: string, numbers: readonly number[], folder: string): Promise<boolean> {
  try {
    await inParallel(numbers, PARALLEL_LINKS, async (number) => {
      await withTable(dir, number, async (path) => {
        try {
          await link(path, join(folder, basename(path)));
        } catch (error) {
          if (systemErrorCode(error) !== "EEXIST") throw error;
        }
      });
    });
    return true;
  } catch (error) {
    if (NO_LINKS.has(systemErrorCode(error) ?? "")) return false;
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}
