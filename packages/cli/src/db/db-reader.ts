import { stat } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, isCairnError, type KvReader, levelProvider, liveTableNames } from "@cairn/kv";
import { checkTable } from "@cairn/kv/tables";
import { findState, indexReader } from "@cairn/engine";
import { formatCount } from "@cairn/text";
import { copyDb, type DbCopy, type DbRun } from "./db-copy.ts";

/** Unless `checksums` is false, first compares tables with their checksums; throws `INDEX_CORRUPT` if one differs. */
export async function openDb(run: DbRun, place: string | undefined) {
  const copy = await copyDb(run, place);
  await requireWholeTables(run, copy);
  return { copy, ...(await openCopy(run, copy)) };
}

/**
 * Like {@link openDb}, but the reader joins versions with their documents. Throws `INDEX_VERSION` for a later version, and
 * `INDEX_CORRUPT` if this is not an index.
 */
export async function openIndexOf(run: DbRun, place: string | undefined) {
  const db = await openDb(run, place);
  const state = await findState(db.reader);
  if (state !== undefined) return { ...db, reader: indexReader(db.reader), state };
  const { source } = db.copy;
  throw new CairnError(
    "INDEX_CORRUPT",
    `${source} is a LevelDB database, but not a Cairn index with any content.`,
    "Use cairn db check, stats or keys --raw, which work with any LevelDB database.",
  );
}

/** Opens the copy, whose tables must have been checked before. */
export async function openCopy(run: DbRun, { dir }: DbCopy) {
  const kv = await levelProvider().open(dir);
  run.defer(() => kv.close());
  const display = run.progress("reading", undefined, (rows) => `${formatCount(rows)} rows`);
  let rowsRead = 0;
  /** The same database, row by row; its range reads show their progress and end when the command is interrupted. */
  const reader: KvReader = {
    get: async (key) => await kv.get(key),
    getMany: async (keys) => await kv.getMany(keys),
    range: async function* (range) {
      for await (const rows of kv.range(range)) {
        run.signal.throwIfAborted();
        rowsRead += rows.length;
        display.update(rowsRead, "so far");
        yield rows;
      }
    },
  };
  return { kv, reader };
}

/** Throws `INDEX_CORRUPT` for the first damaged table: LevelDB reads without verifying checksums. */
export async function requireWholeTables(run: DbRun, copy: DbCopy): Promise<void> {
  if (!run.options.checksums)
    return run.notice("Tables are not compared with their checksums: what damage hides is missing.");
  for await (const [{ table, problem }, cause] of tableDamage(run, copy)) {
    throw new CairnError("INDEX_CORRUPT", `${copy.source} is damaged: table ${table}: ${problem}.`, {
      hint: "Run cairn db check to list all damaged tables, or add --no-checksums to read whatever is still readable.",
      cause,
    });
  }
}

/** A problem of a table, of a row, whose key is as `rowName` names it, or of the database as a whole. */
export interface DbProblem {
  readonly table?: string;
  readonly key?: string;
  readonly problem: string;
}

/** Yields the damaged tables of the original, each with its first damage and the error that shows it. */
export async function* tableDamage(
  run: DbRun,
  { dir }: DbCopy,
): AsyncGenerator<readonly [DbProblem, CairnError], void> {
  const tables = await liveTableNames(dir);
  let total = 0;
  for (const name of tables) total += (await stat(join(dir, name))).size;
  const display = run.progress("comparing checksums", total);
  let done = 0;
  for (const table of tables) {
    try {
      await checkTable(join(dir, table), (_busyMs, bytes) => {
        run.signal.throwIfAborted();
        done += bytes;
        display.update(done, table);
        return Promise.resolve();
      });
    } catch (error) {
      if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
      yield [{ table, problem: error.message.replace(/^.* is damaged: /, "").replace(/\.$/, "") }, error];
    }
  }
  display.stop();
}
