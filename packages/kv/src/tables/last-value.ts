import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { closing } from "../concurrency/closing.ts";
import { isCairnError, systemErrorCode, unlessFailed } from "../errors/errors.ts";
import { readCurrentManifest } from "../files/current-manifest.ts";
import { levelFileName, levelFileNumbers } from "../files/level-files.ts";
import { decodeManifestFile, rowKeyOf } from "../files/level-manifest.ts";
import { recordsOf } from "../files/level-records.ts";
import { recordBehind } from "../files/torn-tail.ts";
import { changesOf } from "../files/write-batch.ts";
import { findBlocks, readerOf, rowsInBlock, type TableRow, TRAILER_BYTES } from "./check-table.ts";

/**
 * Returns the newest value of a row in the closed LevelDB database in `dir`, which may be damaged, without opening it:
 * LevelDB refuses some damage, and lets other damage end the process. Undefined if the row does not exist, or if damage
 * may hide a newer value.
 */
export async function lastValueIn(dir: string, key: Uint8Array): Promise<Uint8Array | undefined> {
  try {
    for (const log of levelFileNumbers(await readdir(dir), "log").toReversed()) {
      // The size is bounded by LevelDB's write buffer and one batch.
      const found = lastInLog(await readFile(join(dir, levelFileName(log, "log"))), key);
      if (found !== "nothing") return found === "hidden" ? undefined : found;
    }
    return await newestInTables(dir, key);
  } catch (error) {
    if (isCairnError(error, "INDEX_CORRUPT") || systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}

/** Returns whether any file of the closed LevelDB database in `dir` may still hold rows, in its folders as well. */
export async function mayHoldRows(dir: string): Promise<boolean> {
  for (const name of await readdir(dir, { recursive: true })) {
    if (name.endsWith(".ldb")) return true;
    if (name.endsWith(".log") && (await stat(join(dir, name))).size > 0) return true;
  }
  return false;
}

/**
 * Returns whether the closed LevelDB database in `dir` may have held rows: any file may hold some, or a manifest names
 * tables or cannot be read. False if its creation was interrupted.
 */
export async function mayHaveHeldRows(dir: string): Promise<boolean> {
  if (await mayHoldRows(dir)) return true;
  for (const name of (await readdir(dir)).filter((one) => one.startsWith("MANIFEST-"))) {
    const path = join(dir, name);
    const manifest = (async () => decodeManifestFile(path, await readFile(path)))();
    const tables = (await unlessFailed(manifest, "INDEX_CORRUPT", undefined))?.tables;
    const isEmpty = (await stat(path)).size === 0;
    if (!isEmpty && (tables === undefined || tables.size > 0)) return true;
  }
  return false;
}

/** What is written after damage is newer than what the damage hides. */
function lastInLog(bytes: Buffer, key: Uint8Array): Uint8Array | "nothing" | "hidden" {
  let found: Uint8Array | "nothing" | "hidden" = "nothing";
  for (let from = 0; ;) {
    const { records, problem, end: last } = recordsOf(bytes, from);
    let [end, isDamaged] = [last, problem !== undefined];
    for (const record of records) {
      try {
        for (const change of changesOf(record.payload))
          if (Buffer.compare(change.key, key) === 0) found = change.value ?? "nothing";
      } catch (error) {
        if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
        [end, isDamaged] = [record.end, true];
        break;
      }
    }
    // The file was extended, but its content was never written.
    if (bytes.subarray(end).every((byte) => byte === 0)) return found;
    const next = recordBehind(bytes, end);
    // Without damage, the end of the file cuts off a batch that was never written completely.
    if (isDamaged || next !== undefined) found = "hidden";
    if (next === undefined) return found;
    from = next;
  }
}

/**
 * Returns whether a row's newest change in one of the tables of the LevelDB database in `dir` has the sequence number.
 * The database may be open: the result is false if it removes a table in the meantime.
 */
export async function isNewestInATable(dir: string, key: Uint8Array, sequence: number): Promise<boolean> {
  const rows = await unlessFailed(newestOfTables(dir, key), "ENOENT", []);
  return rows.some((row) => row.sequence === sequence);
}

async function newestInTables(dir: string, key: Uint8Array): Promise<Uint8Array | undefined> {
  let newest: TableRow | undefined;
  for (const row of await newestOfTables(dir, key))
    if (newest === undefined || row.sequence > newest.sequence) newest = row;
  return newest?.value;
}

/** Returns the row as it is in each table that contains it. */
async function newestOfTables(dir: string, key: Uint8Array): Promise<TableRow[]> {
  const rows: TableRow[] = [];
  for (const { number, first, last } of (await readCurrentManifest(dir)).tables.values()) {
    if (Buffer.compare(first, key) > 0 || Buffer.compare(last, key) < 0) continue;
    const found = await newestInTable(join(dir, levelFileName(number, "ldb")), key);
    if (found !== undefined) rows.push(found);
  }
  return rows;
}

/** The newest of several values of a row is the first one in its table. */
async function newestInTable(path: string, key: Uint8Array): Promise<TableRow | undefined> {
  return await closing(await open(path), async (file) => {
    const read = readerOf(path, file);
    for (const { offset, size, upTo } of await findBlocks(path, (await file.stat()).size, read, true)) {
      if (upTo === undefined || Buffer.compare(rowKeyOf(upTo), key) < 0) continue;
      const bytes = await read(offset, size + TRAILER_BYTES);
      for (const row of rowsInBlock(path, bytes)) {
        const order = Buffer.compare(row.key, key);
        if (order === 0) return row;
        if (order > 0) return undefined;
      }
    }
    return undefined;
  });
}
