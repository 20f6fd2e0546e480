import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Position } from "@cairn/client";
import { CairnError } from "@cairn/kv/threads";
import {
  isSqliteDamage,
  openSqlite,
  type SqliteDatabase,
  type SqliteDriver,
  sqliteError,
} from "./sqlite-driver.ts";
import { POSITION_TABLE } from "./sqlite-schema.ts";

const WAIT_MS = 10_000;

/**
 * Removed rows are overwritten, which costs nothing that can be measured. The log is truncated after it had to grow
 * while a query or a copy needed the file as it was.
 */
const WRITING = `pragma busy_timeout = ${WAIT_MS}; pragma journal_mode = wal; pragma synchronous = normal;
  pragma secure_delete = on; pragma cache_size = -32768; pragma journal_size_limit = 67108864;`;
/** Nothing would limit temporary files. */
const READING = `pragma busy_timeout = ${WAIT_MS}; pragma query_only = on; pragma trusted_schema = off;
  pragma temp_store = memory;`;

/** Opens the file in `dir`, or an empty one if it is damaged, or has tables of another definition. */
export function openToWrite(
  Driver: SqliteDriver,
  dir: string,
  definition: string,
  onNotice: (sentence: string) => void,
): { readonly database: SqliteDatabase; readonly path: string } {
  mkdirSync(dir, { recursive: true });
  const path = sqlitePath(dir) ?? renewFile(dir);
  const { database, reason } = openUsable(Driver, path, definition);
  if (database !== undefined) return { database, path };
  onNotice(`${path} ${reason}. It was removed, and is built again.`);
  const renewed = renewFile(dir);
  const { database: empty } = openUsable(Driver, renewed, definition);
  if (empty === undefined)
    throw new CairnError("INTERNAL", `${renewed} is not the file that was just created.`);
  return { database: empty, path: renewed };
}

function openUsable(
  Driver: SqliteDriver,
  path: string,
  definition: string,
): { readonly database?: SqliteDatabase; readonly reason?: string } {
  let database: SqliteDatabase | undefined;
  try {
    database = openSqlite(Driver, path, false, WRITING);
    if (definitionIn(database, definition) === definition) return { database };
    database.close();
    return { reason: "was made with other tables or columns than those of the configuration" };
  } catch (error) {
    database?.close();
    if (!isSqliteDamage(error)) throw sqliteError(error, `${path} cannot be opened`);
    return { reason: `is damaged (${(error as Error).message})` };
  }
}

/** Returns the path of the file in `dir`; undefined if there is none. */
export function sqlitePath(dir: string): string | undefined {
  const last = Math.max(...numbersIn(dir));
  return last > 0 ? fileOf(dir, last) : undefined;
}

/**
 * Replaces the file in `dir` with an empty one, and returns its path. The name is a new one, because a driver may close
 * a file late, and SQLite then deletes the file's log by its name.
 */
export function renewFile(dir: string): string {
  const before = numbersIn(dir);
  const path = fileOf(dir, Math.max(0, ...before) + 1);
  writeFileSync(path, "");
  for (const number of before) {
    for (const end of ["", "-wal", "-shm"]) rmSync(`${fileOf(dir, number)}${end}`, { force: true });
  }
  return path;
}

const fileOf = (dir: string, number: number): string => join(dir, `index-${number}.sqlite`);

function numbersIn(dir: string): readonly number[] {
  const names = existsSync(dir) ? readdirSync(dir) : [];
  return names.flatMap((name) => /^index-(\d+)\.sqlite$/.exec(name)?.slice(1).map(Number) ?? []);
}

export function openToRead(Driver: SqliteDriver, path: string): SqliteDatabase {
  return openSqlite(Driver, path, true, READING);
}

/** Returns the definition in the file; a new file gets `definition`. */
function definitionIn(database: SqliteDatabase, definition: string): string {
  database.exec(`begin immediate; ${POSITION_TABLE};`);
  const insert = "insert into cairn_position select null, ? where not exists (select * from cairn_position)";
  database.prepare(insert).run(definition);
  const { tables } = database.prepare("select tables from cairn_position").get() as { tables: string };
  database.exec("commit");
  return tables;
}

/** Returns the position of the content; undefined before a build is complete. */
export function readPosition(database: SqliteDatabase): Position | undefined {
  const row = database.prepare("select position from cairn_position").get();
  return (row as { position: Position | null } | undefined)?.position ?? undefined;
}
