import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { checkTable } from "./check-table.ts";
import { systemErrorCode } from "./errors.ts";
import { levelFileName } from "./level-files.ts";
import { decodeLevelManifest } from "./level-manifest.ts";

// Of a processor's time: the writer and the readers in the same process come first.
const SHARE = 0.25;
/** Of tables, the second one of old versions. */
const EXTENSIONS = ["ldb", "sst"] as const;

/**
 * Compares the tables that the open LevelDB in `dir` has at the call with their checksums, without haste. Throws `INDEX_CORRUPT`
 * for the first that is damaged; returns early when `signal` is aborted.
 */
export async function checkLiveTables(dir: string, signal: AbortSignal): Promise<void> {
  // Only what the manifest names: other tables may be ones that are being written.
  for (const number of await liveTables(dir)) {
    for (const extension of EXTENSIONS) {
      try {
        await checkTable(join(dir, levelFileName(number, extension)), (busyMs) => rest(busyMs, signal));
      } catch (error) {
        if (signal.aborted) return;
        // Of the other name, or compacted away meanwhile: then its rows were read already.
        if (systemErrorCode(error) !== "ENOENT") throw error;
      }
    }
  }
}

/**
 * The files of tables that the LevelDB in `dir` consists of, under every name that they may have. Others may lie there: a compaction
 * that was broken off, also one that began when the database was merely opened, leaves half a table.
 */
export async function liveTableNames(dir: string): Promise<Set<string>> {
  const names = new Set<string>();
  for (const number of await liveTables(dir)) {
    for (const extension of EXTENSIONS) names.add(levelFileName(number, extension));
  }
  return names;
}

async function liveTables(dir: string): Promise<Iterable<number>> {
  try {
    const current = (await readFile(join(dir, "CURRENT"), "utf8")).trim();
    return decodeLevelManifest(await readFile(join(dir, current))).tables.keys();
  } catch (error) {
    // A directory that was taken away is no damage in what was there.
    if (systemErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}

async function rest(busyMs: number, signal: AbortSignal): Promise<void> {
  await delay(busyMs * (1 / SHARE - 1), undefined, { signal, ref: false });
}
