import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Json, Position } from "@cairn/client";
import { CairnError } from "@cairn/kv/threads";
import type { StateChange } from "../../index/read/states.ts";
import type { IndexBatch, IndexCapture, OwnIndex, OwnIndexContext } from "../own-index.ts";
import { loadSqliteDriver, type SqliteDatabase, sqliteError, type SqliteStatement } from "./sqlite-driver.ts";
import { openToWrite, readPosition, renewFile } from "./sqlite-file.ts";
import {
  type SqliteIndexOptions,
  type SqliteTable,
  type SqliteTables,
  WHOLE_DOCUMENT,
} from "./sqlite-options.ts";
import {
  rowsInOrder,
  definitionOf,
  deleteRows,
  emptyTables,
  mergedTexts,
  putRow,
  secondaryIndexes,
} from "./sqlite-schema.ts";
import { isTiny, resultValue, sqliteText, sqliteValue } from "./sqlite-values.ts";
import { fieldValue } from "../../policies/field-values.ts";

/** SQLite's default: the number of pages in the log from which a commit moves them to the file. */
const CHECKPOINT_PAGES = 1_000;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

const COPY = `
const { copyFileSync, constants, createReadStream, createWriteStream } = require("node:fs");
const [, from, to, logBytes] = process.argv;
copyFileSync(from, to, constants.COPYFILE_FICLONE);
if (logBytes > 0) createReadStream(from + "-wal", { end: logBytes - 1 }).pipe(createWriteStream(to + "-wal"));
`;

type Put = Extract<StateChange, { op: "put" }>;

export async function openSqliteIndex(
  { tables, driver }: SqliteIndexOptions,
  { dir, onNotice }: OwnIndexContext,
): Promise<OwnIndex> {
  const file = openToWrite(await loadSqliteDriver(driver), dir, definitionOf(tables), onNotice);
  return new SqliteIndex(file.database, tables, file.path);
}

/**
 * The thread's side: it is the only one that changes the file. A build is committed batch by batch, without a position;
 * later batches are one transaction with the position that they lead to.
 */
class SqliteIndex implements OwnIndex {
  readonly #database: SqliteDatabase;
  readonly #tables: SqliteTables;
  readonly #path: string;
  /** The tables by their buckets; empty until there are tables. */
  #rows: ReadonlyMap<string, readonly TableRows[]> = new Map();
  #isBuilding = false;
  #isWriting = false;
  #isOpen = true;
  #copying: Promise<void> | undefined;

  constructor(database: SqliteDatabase, tables: SqliteTables, path: string) {
    this.#database = database;
    this.#tables = tables;
    this.#path = path;
  }

  position(): Position | undefined {
    return this.#within("its position cannot be read", () => readPosition(this.#database));
  }

  async apply(batch: IndexBatch): Promise<void> {
    const [first] = batch.changes;
    // While the file is copied, all that is written stays in the log: a build would double the space.
    if (first?.op === "clear" && first.bucket === undefined) await this.#copying;
    this.#within("the changes cannot be stored", () => this.#apply(batch));
  }

  #apply({ changes, position, complete }: IndexBatch): void {
    if (!this.#isWriting) this.#database.exec("begin immediate");
    this.#isWriting = true;
    if (this.#rows.size === 0 && readPosition(this.#database) !== undefined) this.#rows = this.#prepare();
    for (const change of changes) this.#change(change);
    if (this.#rows.size === 0) throw new CairnError("INTERNAL", "The index has to be built first.");
    if (complete) {
      if (this.#isBuilding) this.#database.exec(secondaryIndexes(this.#tables));
      this.#database.prepare("update cairn_position set position = ?").run(position);
    }
    if (complete || this.#isBuilding) {
      this.#database.exec("commit");
      this.#isWriting = false;
    }
    // This flushes the file.
    if (complete && this.#isBuilding) this.#get("pragma wal_checkpoint(truncate)");
    if (complete) this.#isBuilding = false;
  }

  #change(change: StateChange): void {
    if (change.op === "clear" && change.bucket === undefined) {
      this.#database.exec(`update cairn_position set position = null; ${emptyTables(this.#tables)}`);
      this.#rows = this.#prepare();
      this.#isBuilding = true;
      return;
    }
    const rows = this.#rows.get(change.bucket ?? "");
    if (rows === undefined) return;
    if (change.op === "clear") {
      for (const table of rows) table.clear(change.namespace);
      return;
    }
    try {
      const { namespace, name } = change;
      // SQLite would end the text there, and two keys could become one. So no table has such a row to delete.
      const canHold = !`${namespace}${name}`.includes("\0");
      if (change.op === "put") {
        if (!canHold) throw new Error("SQLite cannot hold a key with the character NUL");
        for (const table of rows) table.put(change);
      } else if (canHold) for (const table of rows) table.delete(namespace, name);
    } catch (error) {
      throw sqliteError(error, `${change.bucket} ${change.namespace}/${change.name}`);
    }
  }

  #prepare(): ReadonlyMap<string, readonly TableRows[]> {
    const rows = new Map<string, TableRows[]>();
    for (const [name, table] of Object.entries(this.#tables)) {
      const ofBucket = rows.get(table.bucket) ?? [];
      rows.set(table.bucket, [...ofBucket, new TableRows(this.#database, name, table)]);
    }
    return rows;
  }

  async capture(dir: string): Promise<IndexCapture> {
    await this.#copying;
    return this.#within("it cannot be captured", () => {
      this.#database.exec("pragma wal_autocheckpoint = 0");
      // From here on, the file stays as it is, and frames are only appended to the log.
      const moved = this.#get("pragma wal_checkpoint(passive)") as { log: number; checkpointed: number };
      const { page_size: pageBytes } = this.#get("pragma page_size") as { page_size: number };
      // Frames remain in the log if a query still needs the pages that they would replace.
      const logBytes =
        moved.log === moved.checkpointed
          ? 0
          : LOG_HEADER_BYTES + moved.log * (FRAME_HEADER_BYTES + pageBytes);
      const copied = this.#copy(dir, logBytes);
      this.#copying = copied.then(
        () => this.#resume(),
        () => this.#resume(),
      );
      return { copied };
    });
  }

  /**
   * Another process copies the files: a process that closes a file loses all its locks on it, also those of SQLite, and
   * other processes would then truncate what this one has mapped.
   */
  async #copy(dir: string, logBytes: number): Promise<void> {
    const to = join(dir, basename(this.#path));
    await promisify(execFile)(process.execPath, ["-e", COPY, this.#path, to, String(logBytes)], { env: {} });
  }

  #resume(): void {
    this.#copying = undefined;
    if (this.#isOpen) this.#database.exec(`pragma wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  }

  async purge(): Promise<void> {
    await this.#copying;
    this.#within("what was deleted cannot be removed from it", () => {
      this.#database.exec(mergedTexts(this.#tables));
      const { busy } = this.#get("pragma wal_checkpoint(truncate)") as { busy: number };
      if (busy !== 0) throw new CairnError("INTERNAL", "A query has kept the index from being purged.");
    });
  }

  digest(): string {
    return this.#within("it cannot be read", () => {
      const hash = createHash("sha256");
      for (const [name, table] of Object.entries(this.#tables).toSorted()) {
        hash.update(`${name}\n`);
        const rows = this.#database.prepare(rowsInOrder(name, table));
        rows.setReadBigInts(true);
        rows.setReturnArrays(true);
        for (const row of rows.iterate())
          hash.update(`${JSON.stringify((row as Json[]).map(resultValue))}\n`);
      }
      return hash.digest("hex");
    });
  }

  async close(): Promise<void> {
    await this.#copying;
    this.#close();
  }

  #close(): void {
    if (!this.#isOpen) return;
    // A driver that closes late would keep the lock.
    this.#undo();
    this.#isOpen = false;
    this.#database.close();
  }

  #get(sql: string): unknown {
    return this.#database.prepare(sql).get();
  }

  /** The index is closed after a failure, which undoes what belongs together. A damaged file is replaced with an empty one, so that it is built again. */
  #within<T>(failure: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      const error = sqliteError(cause, `${this.#path}: ${failure}`);
      if (error.code === "INDEX_CORRUPT") {
        this.#close();
        renewFile(dirname(this.#path));
      }
      throw error;
    }
  }

  #undo(): void {
    if (!this.#isWriting) return;
    this.#isWriting = false;
    try {
      this.#database.exec("rollback");
    } catch {
      // SQLite has rolled back by itself, as it does if the disk is full.
    }
  }
}

/** The statements that change the rows of a table. */
class TableRows {
  readonly #paths: readonly (readonly string[])[];
  readonly #put: SqliteStatement;
  readonly #putNegated: (isNegated: readonly boolean[]) => SqliteStatement;
  readonly #delete: SqliteStatement;
  readonly #clearNamespace: SqliteStatement;
  readonly #clear: SqliteStatement;

  constructor(database: SqliteDatabase, name: string, table: SqliteTable) {
    this.#paths = Object.values(table.columns).map((path) =>
      path === WHOLE_DOCUMENT ? [] : path.split("."),
    );
    this.#put = database.prepare(putRow(name, table));
    this.#putNegated = (isNegated) => database.prepare(putRow(name, table, isNegated));
    this.#delete = database.prepare(deleteRows(name, ["namespace", "name"]));
    this.#clearNamespace = database.prepare(deleteRows(name, ["namespace"]));
    this.#clear = database.prepare(deleteRows(name, []));
  }

  put({ namespace, name, revision, txTime, json }: Put): void {
    const document = JSON.parse(json) as Json;
    const values = this.#paths.map((path) =>
      path.length === 0 ? sqliteText(json) : sqliteValue(fieldValue(document, path) ?? null),
    );
    const isNegated = values.map(isTiny);
    const put = isNegated.includes(true) ? this.#putNegated(isNegated) : this.#put;
    put.run(namespace, name, BigInt(revision), txTime, ...values.map((one) => (isTiny(one) ? -one : one)));
  }

  delete(namespace: string, name: string): void {
    this.#delete.run(namespace, name);
  }

  clear(namespace: string | undefined): void {
    if (namespace === undefined) this.#clear.run();
    else this.#clearNamespace.run(namespace);
  }
}
