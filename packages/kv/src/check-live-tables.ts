import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { captureFileSystem } from "./capture-file-system.ts";
import { checkTable } from "./check-table.ts";
import { systemErrorCode } from "./errors.ts";
import { levelFileName } from "./level-files.ts";
import { readManifest } from "./live-capture.ts";

// Of a processor's time: the writer and the readers in the same process come first.
const SHARE = 0.25;

/**
 * Compares the tables that the open LevelDB in `dir` has at the call with their checksums, without haste. Throws `INDEX_CORRUPT`
 * for the first that is damaged; returns early when `signal` is aborted.
 */
export async function checkLiveTables(dir: string, signal: AbortSignal): Promise<void> {
  // Only what the manifest names: other tables may be ones that are being written.
  const { manifest } = await readManifest(dir, captureFileSystem);
  for (const number of manifest.tables.keys()) {
    for (const extension of ["ldb", "sst"] as const) {
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

async function rest(busyMs: number, signal: AbortSignal): Promise<void> {
  await delay(busyMs * (1 / SHARE - 1), undefined, { signal, ref: false });
}
