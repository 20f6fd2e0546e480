import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { checkTable } from "./check-table.ts";
import { systemErrorCode } from "./errors.ts";
import { levelFileName } from "./level-files.ts";
import { decodeLevelManifest } from "./level-manifest.ts";
import { receiveError, startWorker, WORTH_A_THREAD } from "./worker-thread.ts";
import type { SentError } from "./worker-thread.ts";

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
  let bytes = 0;
  for (const size of tables.values()) bytes += size;
  const numbers = [...tables.keys()];
  if (signal.aborted) return;
  if (bytes >= WORTH_A_THREAD) return await checkBeside({ dir, numbers }, signal);
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
  readonly numbers: readonly number[];
}

/** How long to rest after so much work (ms). */
export function restAfter(busyMs: number): number {
  return busyMs * (1 / SHARE - 1);
}

/** Has `check` look at each table that is still there. */
export async function checkTables(
  { dir, numbers }: CheckOrder,
  check: (path: string) => Promise<void>,
): Promise<void> {
  for (const number of numbers) {
    for (const extension of EXTENSIONS) {
      try {
        await check(join(dir, levelFileName(number, extension)));
      } catch (error) {
        // Of the other name, or compacted away meanwhile: then its rows were read already.
        if (systemErrorCode(error) !== "ENOENT") throw error;
      }
    }
  }
}

async function checkBeside(order: CheckOrder, signal: AbortSignal): Promise<void> {
  const worker = startWorker(import.meta.url, "check-worker", order);
  // Nobody has to wait for it.
  worker.unref();
  const stop = (): void => void worker.terminate();
  signal.addEventListener("abort", stop, { once: true });
  try {
    const message = await new Promise<{ failed?: SentError }>((resolve, reject) => {
      worker.on("message", resolve);
      worker.on("error", reject);
      worker.on("exit", () => (signal.aborted ? resolve({}) : reject(new Error("its thread ended early"))));
    });
    if (message.failed !== undefined) throw receiveError(message.failed);
  } finally {
    signal.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

/**
 * The files of tables that the LevelDB in `dir` consists of, under every name that they may have. Others may lie there: a compaction
 * that was broken off, also one that began when the database was merely opened, leaves half a table.
 */
export async function liveTableNames(dir: string): Promise<Set<string>> {
  const names = new Set<string>();
  for (const number of (await liveTables(dir)).keys()) {
    for (const extension of EXTENSIONS) names.add(levelFileName(number, extension));
  }
  return names;
}

/** Numbers and sizes in bytes. */
async function liveTables(dir: string): Promise<ReadonlyMap<number, number>> {
  try {
    const current = (await readFile(join(dir, "CURRENT"), "utf8")).trim();
    return decodeLevelManifest(await readFile(join(dir, current))).tables;
  } catch (error) {
    // A directory that was taken away is no damage in what was there.
    if (systemErrorCode(error) === "ENOENT") return new Map();
    throw error;
  }
}
