import { CairnError } from "@cairn/kv/threads";

/** What SQLite stores, except for blobs, which no column contains. */
export type SqliteValue = null | string | number | bigint;

/** The part of a statement of `node:sqlite` that is used here. */
export interface SqliteStatement {
  run(...values: readonly unknown[]): unknown;
  get(...values: readonly unknown[]): unknown;
  iterate(...values: readonly unknown[]): Iterable<unknown>;
  columns(): readonly { readonly name: string }[];
  setReadBigInts(enabled: boolean): void;
  setReturnArrays(enabled: boolean): void;
}

/** The part of a database of `node:sqlite` that is used here. */
export interface SqliteDatabase {
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement;
  close(): void;
}

export type SqliteDriver = new (path: string, options?: { readOnly: boolean }) => SqliteDatabase;

const BUILT_IN = "node:sqlite";
/** The first version whose statements return arrays, which keep columns of the same name apart. */
const FIRST_MAJOR = 22;
const FIRST_MINOR = 16;
const REMEDY =
  'Use Node 22.16 or later, or install @photostructure/sqlite@1.2 and set `driver` to "@photostructure/sqlite".';

/** Returns why this version of Node cannot keep an index in SQLite without a `driver`; undefined if it can. */
export function sqliteDriverProblem(
  driver: string | undefined,
  nodeVersion = process.versions.node,
): CairnError | undefined {
  const [major = 0, minor = 0] = nodeVersion.split(".").map(Number);
  const isRecent = major > FIRST_MAJOR || (major === FIRST_MAJOR && minor >= FIRST_MINOR);
  if ((driver ?? BUILT_IN) !== BUILT_IN || isRecent) return undefined;
  return new CairnError("CONFIG_INVALID", `Node ${nodeVersion} has no SQLite that Cairn can use.`, REMEDY);
}

export async function loadSqliteDriver(url: string | undefined): Promise<SqliteDriver> {
  const problem = sqliteDriverProblem(url);
  if (problem !== undefined) throw problem;
  const name = url ?? BUILT_IN;
  // Later versions of Node rename the class.
  const { DatabaseSync, Database = DatabaseSync } = (await withoutWarning(() => import(name)).catch(
    (cause: unknown) => {
      throw new CairnError("CONFIG_MODULE", `The SQLite driver ${name} cannot be imported.`, {
        hint: REMEDY,
        cause,
      });
    },
  )) as { DatabaseSync?: SqliteDriver; Database?: SqliteDriver };
  if (typeof Database === "function" && "prepare" in (Database.prototype as object)) return Database;
  throw new CairnError("CONFIG_MODULE", `The module ${name} does not have the API of node:sqlite.`, REMEDY);
}

/** Node 22 warns that its SQLite is experimental, which concerns its API and not the files. */
async function withoutWarning<T>(work: () => Promise<T>): Promise<T> {
  const { emitWarning } = process;
  process.emitWarning = (...given: unknown[]): void => {
    const [warning, type] = given;
    const isExpected = type === "ExperimentalWarning" && String(warning).startsWith("SQLite ");
    if (!isExpected) Reflect.apply(emitWarning, process, given);
  };
  try {
    return await work();
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Opens a database; if its first use fails, it is closed. */
export function openSqlite(
  Driver: SqliteDriver,
  path: string,
  readOnly: boolean,
  pragmas: string,
): SqliteDatabase {
  const database = new Driver(path, { readOnly });
  try {
    database.exec(pragmas);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Drivers agree on the messages of SQLite, but not on the members of errors. */
const DAMAGED =
  /database disk image is malformed|file is not a database|malformed database schema|vtable constructor failed|fts5: missing row/;
const FULL = /database or disk is full/;
const OF_SYSTEM = /^(?:disk I\/O error|out of memory|database is locked|unable to open database)/;

export function isSqliteDamage(error: unknown): boolean {
  return error instanceof Error && DAMAGED.test(error.message);
}

/** Returns an error of SQLite with a code. `what` is what failed; without it, the statement of a query is wrong. */
export function sqliteError(cause: unknown, what?: string, hint?: string): CairnError {
  if (cause instanceof CairnError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  const sentence = `${what ?? "The query failed"}: ${message}.`;
  if (DAMAGED.test(message)) {
    const again = "The index is built again from the node's documents. If that recurs, examine the disk.";
    return new CairnError("INDEX_CORRUPT", sentence, { hint: again, cause });
  }
  if (FULL.test(message)) {
    return new CairnError("DISK_FULL", sentence, { hint: "Free space in the node's db-dir.", cause });
  }
  if (what !== undefined || OF_SYSTEM.test(message)) return new CairnError("INTERNAL", sentence, { cause });
  return new CairnError("REQUEST_INVALID", `SQLite refuses the query: ${message}.`, {
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}
