import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { recordKey, Records } from "../data/records.ts";
import type { Figures } from "../harness/figures.ts";

const MB = 1_000_000;

/**
 * Puts records into RocksDB, backs it up with its BackupEngine, and measures how much the next backups add: first after
 * some records have changed in scattered order, and then after a full compaction. Needs `ldb` (Debian: rocksdb-tools).
 */
export async function backUpRocksdb(input: {
  readonly dir: string;
  readonly records: number;
  readonly changes: number;
}): Promise<Figures> {
  const [db, backups] = [join(input.dir, "db"), join(input.dir, "backups")];
  await mkdir(input.dir, { recursive: true });
  const of = { ours: new Records(input.records), changed: new Records(input.records) };
  await load(
    db,
    of.ours,
    Array.from({ length: input.records }, (_, index) => index),
  );
  await ldb(db, ["backup", `--backup_dir=${backups}`]);
  const indexes = Array.from({ length: input.changes }, (_, change) => (change * 514_229) % input.records);
  const added = async (): Promise<number> => {
    const before = await bytesIn(backups);
    await ldb(db, ["backup", `--backup_dir=${backups}`]);
    return ((await bytesIn(backups)) - before) / MB;
  };
  await load(db, of.changed, indexes);
  const written = await added();
  await load(db, of.ours, indexes);
  await ldb(db, ["compact"]);
  return { "MB written": written, "MB written once compacted": await added() };
}

async function load(db: string, records: Records, indexes: readonly number[]): Promise<void> {
  function* lines(): Generator<string> {
    for (const index of indexes) yield `${recordKey(index)} ==> ${records.document(index)}\n`;
  }
  await ldb(db, ["--create_if_missing", "load"], lines());
}

async function ldb(db: string, args: readonly string[], lines: Iterable<string> = []): Promise<void> {
  const child = spawn("ldb", [`--db=${db}`, ...args], { stdio: ["pipe", "ignore", "pipe"] });
  const stderr: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const exit = once(child, "close") as Promise<[number | null]>;
  const [[code]] = await Promise.all([exit, pipeline(Readable.from(lines), child.stdin)]).catch(
    (error: unknown) => {
      throw new Error("the bench needs ldb on the PATH (Debian: rocksdb-tools)", { cause: error });
    },
  );
  if (code !== 0) throw new Error(`ldb ${args.join(" ")}: ${Buffer.concat(stderr).toString("utf8").trim()}`);
}

async function bytesIn(dir: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  return bytes;
}
