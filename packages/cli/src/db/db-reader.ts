import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  CairnError,
  findTableDamage,
  type KvReader,
  type KvStore,
  levelProvider,
  liveTableBounds,
} from "@cairn/kv";
import { findState, indexReader, rowName } from "@cairn/engine";
import { formatCount } from "@cairn/text";
import { copyDb, type DbCopy, type DbRun } from "./db-copy.ts";

interface OpenedDb {
  readonly copy: DbCopy;
  readonly kv: KvStore;
  /** The same database, row by row; its range reads show their progress and end when the command is interrupted. */
  readonly reader: KvReader;
}

/** Unless `checksums` is false, first compares tables with their checksums; throws `INDEX_CORRUPT` if one differs. */
export async function openDb(run: DbRun, place: string | undefined): Promise<OpenedDb> {
  const copy = await copyDb(run, place);
  await requireWholeTables(run, copy);
  return { copy, ...(await openCopy(run, copy)) };
}

/**
 * Like {@link openDb}, but the reader joins versions with their documents. Throws `INDEX_VERSION` for a later version, and
 * `INDEX_CORRUPT` if this is not an index.
 */
export async function openIndexOf(
  run: DbRun,
  place: string | undefined,
): Promise<OpenedDb & { readonly state: NonNullable<Awaited<ReturnType<typeof findState>>> }> {
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
export async function openCopy(run: DbRun, { dir }: DbCopy): Promise<Pick<OpenedDb, "kv" | "reader">> {
  const kv = await levelProvider().open(dir);
  run.defer(() => kv.close());
  const display = run.progress("reading", undefined, (rows) => `${formatCount(rows)} rows`);
  let rowsRead = 0;
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

/** Throws `INDEX_CORRUPT` at the first damaged part of a table: LevelDB reads without verifying checksums. */
export async function requireWholeTables(run: DbRun, copy: DbCopy): Promise<void> {
  if (!run.options.checksums) return;
  for await (const [{ table, problem }, cause] of tableDamage(run, copy)) {
    throw new CairnError("INDEX_CORRUPT", `${copy.source} is damaged: table ${table}, ${problem}.`, {
      hint: "Run cairn db check to list all damage, or add --no-checksums to read whatever is still readable.",
      cause,
    });
  }
}

/** A problem of a database. Rows from `from`, or after `after`, up to `upTo` are affected, as `rowName` names them. */
export interface DbProblem {
  readonly table?: string;
  readonly key?: string;
  readonly from?: string;
  readonly after?: string;
  readonly upTo?: string;
  readonly problem: string;
}

/** Yields the damaged parts of the tables in the original, each with the error that shows it. */
export async function* tableDamage(
  run: DbRun,
  { dir }: DbCopy,
): AsyncGenerator<readonly [DbProblem, CairnError], void> {
  const tables = await liveTableBounds(dir);
  let total = 0;
  for (const name of tables.keys()) total += (await stat(join(dir, name))).size;
  const display = run.progress("comparing checksums", total);
  let done = 0;
  for (const [table, [first, last]] of tables) {
    const read = (bytes: number): void => {
      run.signal.throwIfAborted();
      done += bytes;
      display.update(done, table);
    };
    for await (const part of findTableDamage(join(dir, table), read)) {
      const { offset, bytes, after, error } = part;
      // LevelDB shortens the keys that separate blocks, so the last separator may be beyond all rows.
      const upTo = part.upTo === undefined || Buffer.compare(part.upTo, last) > 0 ? last : part.upTo;
      const begin = after === undefined ? { from: rowName(first) } : { after: rowName(after) };
      const how = error.message.replace(/^.* is damaged: /, "").replace(/\.$/, "");
      const problem = `bytes ${offset} to ${offset + bytes - 1}: ${how}`;
      yield [{ table, ...begin, upTo: rowName(upTo), problem }, error];
    }
  }
  display.stop();
}
