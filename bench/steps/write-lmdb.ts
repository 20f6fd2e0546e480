import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import { Records, recordKey } from "../data/records.ts";
import { flush } from "../harness/command.ts";
import { peakMemory } from "../harness/peak-memory.ts";
import type { Figures } from "../harness/figures.ts";
import { measureSteadyWriter } from "./steady-writer.ts";

const LOAD_BATCH = 10_000;

/** Writes the records to a new lmdb database. */
export async function makeLmdb({
  dir,
  records: count,
}: {
  readonly dir: string;
  readonly records: number;
}): Promise<Figures> {
  const records = new Records(count);
  const database = openLmdb(dir);
  for (let first = 0; first < count; first += LOAD_BATCH) {
    await database.batch(() => {
      for (let index = first; index < Math.min(count, first + LOAD_BATCH); index++)
        void database.put(recordKey(index), Buffer.from(records.document(index)));
    });
  }
  await database.close();
  return {};
}

/** Measures the backup function of lmdb, including a flush. */
export async function backUpLmdb({
  dir,
  backupDir,
}: {
  readonly dir: string;
  readonly backupDir: string;
}): Promise<Figures> {
  const database = openLmdb(dir);
  const begin = performance.now();
  await backUp(database, backupDir);
  const seconds = (performance.now() - begin) / 1000;
  await database.close();
  return { s: seconds };
}

async function backUp(database: RootDatabase<Buffer, string>, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await database.backup(folder, false);
  await flush(folder, { files: true });
}

/** Measures a steady writer on an lmdb database, before and during its own backups. */
export async function writeLmdb(input: {
  readonly dir: string;
  readonly backupDir: string;
  readonly records: number;
}): Promise<Figures> {
  const database = openLmdb(input.dir);
  const folderOf = (round: number): string => join(input.backupDir, String(round));
  const figures = await measureSteadyWriter({
    records: input.records,
    write: (rows) =>
      database.batch(() => {
        for (const { key, value } of rows) void database.put(key, value);
      }),
    disturb: (round) => backUp(database, folderOf(round)),
    tidy: (round) => rm(folderOf(round), { recursive: true }),
  });
  await database.close();
  return { ...figures, "peak MB": peakMemory() };
}

/** Opens an lmdb database that does not flush each write, like Cairn's index. */
function openLmdb(dir: string): RootDatabase<Buffer, string> {
  return open<Buffer, string>({ path: dir, noSync: true, encoding: "binary", eventTurnBatching: false });
}
