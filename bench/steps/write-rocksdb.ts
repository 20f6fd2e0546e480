import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../harness/command.ts";
import { recordKey, Records, scattered } from "../data/records.ts";
import type { Figures } from "../harness/figures.ts";

const MB = 1_000_000;

/**
 * Puts records into RocksDB, backs it up with its BackupEngine, and measures how many bytes the next backups add: first
 * after some records have changed in scattered order, and then after a full compaction. Requires `ldb` (Debian:
 * rocksdb-tools).
 */
export async function backUpRocksdb(input: {
  readonly dir: string;
  readonly records: number;
  readonly changes: number;
}): Promise<Figures> {
  const [db, backups] = [join(input.dir, "db"), join(input.dir, "backups")];
  await mkdir(input.dir, { recursive: true });
  const records = new Records(input.records);
  await load(
    db,
    records,
    Array.from({ length: input.records }, (_, index) => index),
  );
  await ldb(db, ["backup", `--backup_dir=${backups}`]);
  const indexes = Array.from({ length: input.changes }, (_, n) => scattered(n, input.records));
  const added = async (): Promise<number> => {
    const before = await bytesIn(backups);
    await ldb(db, ["backup", `--backup_dir=${backups}`]);
    return ((await bytesIn(backups)) - before) / MB;
  };
  await load(db, new Records(input.records), indexes);
  const written = await added();
  await load(db, records, indexes);
  await ldb(db, ["compact"]);
  return { "MB written": written, "MB written once compacted": await added() };
}

async function load(db: string, records: Records, indexes: readonly number[]): Promise<void> {
  function* lines(): Generator<string> {
    for (const index of indexes) yield `${recordKey(index)} ==> ${records.document(index)}\n`;
  }
  await ldb(db, ["--create_if_missing", "load"], lines());
}

async function ldb(db: string, args: readonly string[], lines?: Iterable<string>): Promise<void> {
  await run("ldb", [`--db=${db}`, ...args], lines);
}

/** Returns the size of all files below a folder, in bytes. */
async function bytesIn(dir: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  return bytes;
}
