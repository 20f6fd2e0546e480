import type { Json, Position } from "@cairn/client";
import { CairnError } from "@cairn/kv/threads";
import type { IndexQuery, OwnIndex, OwnIndexContext, QueryAnswer } from "../own-index.ts";
import {
  loadSqliteDriver,
  type SqliteDatabase,
  type SqliteDriver,
  sqliteError,
  type SqliteStatement,
} from "./sqlite-driver.ts";
import { openToRead, readPosition, sqlitePath } from "./sqlite-file.ts";
import type { SqliteIndexOptions } from "./sqlite-options.ts";
import { describeTables } from "./sqlite-schema.ts";
import { isTiny, resultValue, sqliteValue } from "./sqlite-values.ts";

export async function openSqliteReader(
  options: SqliteIndexOptions,
  context: OwnIndexContext,
): Promise<OwnIndex> {
  return new SqliteReader(await loadSqliteDriver(options.driver), options, context);
}

/** A process that answers queries. It opens the file when it is first asked, and again if there is another file. */
class SqliteReader implements OwnIndex {
  readonly #Driver: SqliteDriver;
  readonly #options: SqliteIndexOptions;
  readonly #context: OwnIndexContext;
  #open: { readonly path: string; readonly database: SqliteDatabase } | undefined;
  #isReading = false;

  constructor(driver: SqliteDriver, options: SqliteIndexOptions, context: OwnIndexContext) {
    this.#Driver = driver;
    this.#options = options;
    this.#context = context;
  }

  position(): Position | undefined {
    try {
      const database = this.#current();
      return database === undefined ? undefined : positionIn(database);
    } catch (error) {
      throw sqliteError(error, `${this.#context.name} cannot be read`);
    }
  }

  query({ text, args }: IndexQuery): QueryAnswer {
    requireQuery(text);
    this.#end();
    try {
      const database = this.#current();
      database?.exec("begin");
      this.#isReading = database !== undefined;
      const position = database === undefined ? undefined : positionIn(database);
      if (database === undefined || position === undefined) throw this.#notBuilt();
      const statement = database.prepare(text);
      statement.setReadBigInts(true);
      statement.setReturnArrays(true);
      const columns = statement.columns().map(({ name }) => name);
      return { position, columns, rows: this.#rows(statement, parametersOf(args)) };
    } catch (error) {
      this.#end();
      throw this.#failure(error);
    }
  }

  *#rows(statement: SqliteStatement, parameters: readonly unknown[]): Iterable<readonly Json[]> {
    try {
      for (const row of statement.iterate(...parameters)) yield (row as unknown[]).map(resultValue);
    } catch (error) {
      throw this.#failure(error);
    } finally {
      this.#end();
    }
  }

  /** Ends the transaction of a query whose rows were read, or were not wanted. */
  #end(): void {
    if (this.#isReading) this.#open?.database.exec("rollback");
    this.#isReading = false;
  }

  #current(): SqliteDatabase | undefined {
    const path = sqlitePath(this.#context.dir);
    if (this.#open !== undefined && this.#open.path === path) return this.#open.database;
    this.close();
    if (path === undefined) return undefined;
    const database = openToRead(this.#Driver, path);
    this.#open = { path, database };
    return database;
  }

  #failure(error: unknown): CairnError {
    const isUnknown = error instanceof Error && /no such (?:table|column)/.test(error.message);
    const hint = isUnknown
      ? `The tables are: ${describeTables(this.#options.tables)}.`
      : "A query is one statement in SQLite's dialect of SQL, with a value for each parameter.";
    return sqliteError(error, undefined, hint);
  }

  #notBuilt(): CairnError {
    const hint = "The index is built again from the node's documents.";
    return new CairnError("INDEX_CORRUPT", `The index ${this.#context.name} has no complete content.`, hint);
  }

  apply(): never {
    throw new CairnError("INTERNAL", "An index that is only asked gets no changes.");
  }

  close(): void {
    this.#end();
    this.#open?.database.close();
    this.#open = undefined;
  }
}

function positionIn(database: SqliteDatabase): Position | undefined {
  try {
    return readPosition(database);
  } catch (error) {
    // The file has only just been created.
    if (error instanceof Error && error.message.includes("no such table: cairn_position")) return undefined;
    throw error;
  }
}

function parametersOf(args: IndexQuery["args"]): readonly unknown[] {
  const named = Object.entries<Json>(args).map(([name, value]) => [name, sqliteValue(value)] as const);
  const tiny = named.find(([, value]) => isTiny(value));
  if (tiny !== undefined)
    throw new CairnError(
      "REQUEST_INVALID",
      `The parameter ${tiny[0]} is a number that not all drivers of SQLite pass on.`,
      "Write the number in the statement.",
    );
  return Array.isArray(args) ? named.map(([, value]) => value) : [Object.fromEntries(named)];
}

/** Strings, quoted names and comments, in which nothing is a keyword or ends a statement. */
const QUOTED = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g;
const READS = /^\s*(?:select|with|values|explain)\b/i;

/**
 * Throws `REQUEST_INVALID` unless a text is one statement that reads. The database is read-only in any case, but other
 * statements could open other files, and what follows a first statement would be ignored.
 */
function requireQuery(text: string): void {
  const code = text.replaceAll(QUOTED, (part) => (/^(?:--|\/\*)/.test(part) ? " " : "''"));
  if (!READS.test(code)) {
    throw refused("A query begins with SELECT, WITH, VALUES or EXPLAIN.");
  }
  if (/;\s*\S/.test(code)) throw refused("A query is one statement, and this text has several.");
}

function refused(message: string): CairnError {
  return new CairnError(
    "REQUEST_INVALID",
    message,
    "Indexes are only read: documents are changed by transactions.",
  );
}
