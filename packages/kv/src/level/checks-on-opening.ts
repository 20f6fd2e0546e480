import { link, mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { inParallel } from "../concurrency/in-parallel.ts";
import { RunningWork } from "../concurrency/running-work.ts";
import { MIN_BYTES_FOR_THREAD } from "../concurrency/worker-thread.ts";
import { isLinkRefusal, namesIn, removeFolder } from "../disk/folders.ts";
import { type CairnError, isCairnError, unlessFailed } from "../errors/errors.ts";
import { levelFileNumbers } from "../files/level-files.ts";
import type { KvScrub } from "../store/kv-store.ts";
import {
  checkLiveTables,
  checkOnThread,
  checkTables,
  liveTables,
  scrubTables,
  withTable,
} from "../tables/check-named-tables.ts";
import { checkTableSync } from "../tables/check-table.ts";
import { closed, explainOperation } from "./level-errors.ts";
import type { ClaimedDirectory } from "./directory-claim.ts";

/**
 * The size up to which databases are checked before opening (docs/failures.md, "Damage on the disk"). For them,
 * starting a thread would take longer than the check itself.
 */
const MAX_BYTES_BEFORE_OPENING = MIN_BYTES_FOR_THREAD;

/** A folder in the directory of a LevelDB database. LevelDB ignores folders. */
export const UNCHECKED_FOLDER = "unchecked";
const PARALLEL_LINKS = 4;
const MAX_THREADS = 4;

/** Tables that have not been compared with their checksums yet. */
export interface UncheckedTables {
  readonly dir: string;
  readonly numbers: readonly number[];
  readonly bytes: number;
}

/**
 * Compares the tables of the closed LevelDB database in `dir` with their checksums. If the tables are large, links them
 * to a folder instead, and returns the tables that {@link checkUnchecked} must compare while the database is in use.
 * Without the links, a compaction could rewrite the rows that damage left visible, with valid checksums, and remove the
 * damaged table before it is compared. If an earlier process has left such links behind, all tables and links are
 * compared immediately. Throws `INDEX_CORRUPT` and errors of the system.
 */
export async function checkBeforeOpening(dir: string): Promise<UncheckedTables | undefined> {
  // LevelDB reports missing files more clearly.
  const { numbers: live, bytes } = await liveTables(dir);
  const folder = join(dir, UNCHECKED_FOLDER);
  const left = await namesIn(folder);
  if (left.length === 0 && bytes < MAX_BYTES_BEFORE_OPENING) {
    await checkTables({ dir, numbers: live }, checkWhole);
    return undefined;
  }
  await mkdir(folder, { recursive: true });
  // A damaged key can make LevelDB terminate the process, perhaps when it opens the database. The process that left the
  // links may have ended in this way.
  if (left.length === 0 && (await linkAll(dir, live, folder))) return { dir: folder, numbers: live, bytes };
  const { signal } = new AbortController();
  await checkOnThreads(dir, live, signal);
  await checkUnchecked({ dir: folder, numbers: levelFileNumbers(left, "ldb"), bytes }, signal);
  return undefined;
}

/**
 * Compares tables on worker threads, and removes their links. Calls `onChecked` with the size of each table. Throws
 * `INDEX_CORRUPT` and errors of the system. The links remain after an error, and if `signal` is aborted.
 */
export async function checkUnchecked(
  { dir, numbers }: UncheckedTables,
  signal: AbortSignal,
  onChecked?: (bytes: number) => void,
): Promise<void> {
  await checkOnThreads(dir, numbers, signal, onChecked);
  if (!signal.aborted) await removeFolder(dir);
}

/** Uses a thread per processor, up to {@link MAX_THREADS}: a node waits for the result. The first failure ends all. */
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

/** Checks a small table on this thread, which is twice as fast as on another, and then yields to the event loop. */
async function checkWhole(path: string): Promise<void> {
  await checkTableSync(path, () => Promise.resolve());
  await setImmediate();
}

/** Returns false if the file system does not support links. LevelDB reports missing tables later. */
async function linkAll(dir: string, numbers: readonly number[], folder: string): Promise<boolean> {
  try {
    await inParallel(numbers, PARALLEL_LINKS, async (number) => {
      await withTable(dir, number, async (path) => {
        await unlessFailed(link(path, join(folder, basename(path))), "EEXIST", undefined);
      });
    });
    return true;
  } catch (error) {
    if (isLinkRefusal(error)) return false;
    throw error;
  }
}

export type TableChecks = ReturnType<typeof tableChecks>;

/** Compares tables with their checksums: those of earlier processes once, and all on request. */
export function tableChecks(dir: string, claim: ClaimedDirectory) {
  let damage: CairnError | undefined;
  let urgent: Promise<void> = Promise.resolve();
  let report: ((done: number, total: number) => void) | undefined;
  const stop = new AbortController();
  const running = new RunningWork();

  async function explained<T>(work: Promise<T>): Promise<T> {
    try {
      const done = await work;
      stop.signal.throwIfAborted();
      return done;
    } catch (error) {
      if (isCairnError(error, "INDEX_CORRUPT") && (await claim.isThere())) damage ??= error;
      throw explainOperation(error, dir);
    }
  }

  function watch<T>(work: Promise<T>): Promise<T> {
    return running.track(explained(work));
  }

  return {
    /** The error of a damaged table, once one is found. Data that may come from that table must not be served. */
    get damage() {
      return damage;
    },
    /** Starts to compare all tables in the background. */
    begin(): void {
      // Readers and writers encounter other errors, such as those of a failing disk, themselves.
      watch(checkLiveTables(dir, stop.signal)).catch(() => undefined);
    },
    /** Starts to compare, at full speed, the tables that were not compared before the store was opened. */
    beginUrgent(unchecked: UncheckedTables): void {
      let done = 0;
      const onChecked = (bytes: number): void => {
        done += bytes;
        report?.(Math.min(done, unchecked.bytes), unchecked.bytes);
      };
      urgent = watch(checkUnchecked(unchecked, stop.signal, onChecked));
      // `checked` throws the error.
      urgent.catch(() => undefined);
    },
    /**
     * Waits for the comparison that `beginUrgent` started, and throws its error. If there are several calls, only the
     * last `onProgress` is called. It receives numbers of bytes.
     */
    async checked(onProgress: typeof report): Promise<void> {
      report = onProgress ?? report;
      await urgent;
    },
    /** Like {@link scrubTables}. Throws `NOT_READY` if the store is closed in the meantime. */
    async scrub({ pause, signal }: KvScrub): Promise<number> {
      // If other files have replaced the store's tables, they show nothing about the store.
      if (!(await claim.isThere())) return 0;
      return await watch(scrubTables(dir, { pause, signal: AbortSignal.any([signal, stop.signal]) }));
    },
    /** Aborts running comparisons, which could take minutes, and waits for them to end. */
    async stop(): Promise<void> {
      stop.abort(closed(dir));
      await running.idle();
    },
  };
}
