import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import {
  CairnError,
  findTableDamage,
  isCairnError,
  type KvReader,
  type KvStore,
  levelProvider,
  liveTableBounds,
} from "@cairn/kv";
import { type IndexState, readState } from "../../index/rows/index-state.ts";
import { STATE_ROW_KEY } from "../../index/rows/row-keys.ts";
import { type DbCopy, type DbOptions, withDbCopy } from "./db-copy.ts";
import { describeConfiguredCommand } from "../options/command-options.ts";
import { type ProgressDisplay, showProgress } from "../terminal/progress-display.ts";
import { formatCount } from "../terminal/quantities.ts";
import { type Terminal } from "../terminal/terminal.ts";

/** Adds the options of every `cairn db` command. */
export function describeDbCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return describeConfiguredCommand(command, description, examples)
    .addHelpText("after", LEFT_OUT)
    .option("--staging <directory>", "where the copy lies that is looked at (default: the temporary folder)")
    .option("--log <id>", "of this log, where a folder has checkpoints of several")
    .option("--no-checksums", "do not compare the tables with their checksums first");
}

const LEFT_OUT =
  "\nWithout a place it is the index of the configured node; with a configuration (-f, -e, -j) the name of a checkpoint in its store will do, too.";

/** A database that is looked at. */
export interface OpenedDb {
  readonly copy: DbCopy;
  readonly kv: KvStore;
  /** The same, but reading a range ends when the command is interrupted, and shows how far it is. */
  readonly reader: KvReader;
}

/** Runs `use` with a copy of the database at `place`, opened, its tables compared with their checksums unless that is not wanted. */
export function withDb<T>(
  place: string | undefined,
  options: DbOptions,
  terminal: Terminal,
  use: (db: OpenedDb) => Promise<T>,
): Promise<T> {
  return withDbCopy(place, options, terminal, async (copy) => {
    // LevelDB does not compare them when it reads, so a flipped bit would be shown as if it had been written.
    if (options.checksums) await requireWholeTables(copy, terminal);
    return await openCopy(copy, terminal, use);
  });
}

/** The same for an index of Cairn: `INDEX_VERSION`, and `INDEX_CORRUPT` for what is none. */
export function withIndex<T>(
  place: string | undefined,
  options: DbOptions,
  terminal: Terminal,
  use: (index: OpenedDb & { readonly state: IndexState }) => Promise<T>,
): Promise<T> {
  return withDb(place, options, terminal, async (db) => {
    const state = await requireState(db.kv, db.copy.source);
    return await use({ ...db, state });
  });
}

/** Opens a copy that was looked at already. */
export async function openCopy<T>(
  copy: DbCopy,
  terminal: Terminal,
  use: (db: OpenedDb) => Promise<T>,
): Promise<T> {
  const kv = await levelProvider().open(copy.dir);
  const display = showProgress(
    terminal.stderr,
    "reading",
    undefined,
    Date.now,
    (rows) => `${formatCount(rows)} rows`,
  );
  try {
    return await use({ copy, kv, reader: watchedReader(kv, copy.signal, display) });
  } finally {
    display.stop();
    await kv.close();
  }
}

async function requireState(kv: KvReader, source: string): Promise<IndexState> {
  if ((await kv.get(STATE_ROW_KEY)) === undefined) {
    throw new CairnError(
      "INDEX_CORRUPT",
      `${source} is a LevelDB, but no index of Cairn that holds anything.`,
      {
        hint: "cairn db check, stats, compact and keys --raw work on any LevelDB.",
      },
    );
  }
  const state = await readState(kv);
  if (state === undefined) throw new Error("the row of the state was there just now");
  return state;
}

/** Throws `INDEX_CORRUPT` at the first part of a table that differs from its checksum. */
export async function requireWholeTables(copy: DbCopy, terminal: Terminal): Promise<void> {
  for await (const { table, what, error } of tableDamage(copy, terminal)) {
    throw new CairnError("INDEX_CORRUPT", `${copy.source} is damaged: table ${table}, ${what}.`, {
      hint: "cairn db check lists all damage; --no-checksums shows what can be read all the same.",
      cause: error,
    });
  }
}

/** A damaged part of a table of the source. */
export interface DamagedPart {
  readonly table: string;
  /** Which bytes, and what is wrong with them. */
  readonly what: string;
  /** Its rows: those from `from` on or, where that is undefined, above `after`, up to `upTo`. */
  readonly from: Uint8Array | undefined;
  readonly after: Uint8Array | undefined;
  readonly upTo: Uint8Array;
  readonly error: CairnError;
}

/** Every damaged part of the tables. */
export async function* tableDamage(copy: DbCopy, terminal: Terminal): AsyncGenerator<DamagedPart, void> {
  const tables = await liveTableBounds(copy.dir);
  let total = 0;
  for (const name of tables.keys()) total += (await stat(join(copy.dir, name))).size;
  const display = showProgress(terminal.stderr, "comparing checksums", total);
  let done = 0;
  try {
    for (const [table, [first, last]] of tables) {
      const read = (bytes: number): void => {
        copy.signal.throwIfAborted();
        done += bytes;
        display.update(done, table);
      };
      for await (const part of findTableDamage(join(copy.dir, table), read)) {
        const { offset, bytes, after, error } = part;
        // LevelDB shortens the keys by which it tells blocks apart; the last one may be beyond all rows.
        const upTo = part.upTo === undefined || Buffer.compare(part.upTo, last) > 0 ? last : part.upTo;
        const from = after === undefined ? first : undefined;
        const how = error.message.replace(/^.* is damaged: /, "").replace(/\.$/, "");
        yield { table, what: `bytes ${offset} to ${offset + bytes - 1}: ${how}`, from, after, upTo, error };
      }
    }
  } finally {
    display.stop();
  }
}

function watchedReader(kv: KvReader, signal: AbortSignal, display: ProgressDisplay): KvReader {
  let rowsRead = 0;
  return {
    get: async (key) => await kv.get(key),
    getMany: async (keys) => await kv.getMany(keys),
    range: async function* (range) {
      for await (const rows of kv.range(range)) {
        signal.throwIfAborted();
        rowsRead += rows.length;
        display.update(rowsRead, "so far");
        yield rows;
      }
    },
  };
}

/** Whether an error says that an index cannot be used, as against one that it could not be looked at. */
export function isUnusable(error: unknown): error is CairnError {
  return isCairnError(error, "INDEX_CORRUPT") || isCairnError(error, "INDEX_VERSION");
}
