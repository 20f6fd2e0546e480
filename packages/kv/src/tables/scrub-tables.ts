import { join } from "node:path";
import { liveTables, withTable } from "./check-named-tables.ts";
import { checkTable } from "./check-table.ts";
import { CairnError } from "../errors/errors.ts";
import { levelFileName } from "../files/level-files.ts";
import type { KvScrub } from "../store/kv-store.ts";

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
  // A removed directory is no evidence of damage.
  const tables = (await liveTables(dir)) ?? new Map<number, number>();
  let total = 0;
  for (const size of tables.values()) total += size;
  let passed = 0;
  let compared = 0;
  for (const [number, size] of tables) {
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
    else if ((await liveTables(dir))?.has(number) === true) throw missing(dir, number);
    passed += size;
  }
  return compared;
}

function missing(dir: string, number: number): CairnError {
  const path = join(dir, levelFileName(number, "ldb"));
  return new CairnError("INDEX_CORRUPT", `The table ${path} is missing.`, {
    hint: "Find out what removed the file. The node moves the index aside and rebuilds it.",
  });
}
