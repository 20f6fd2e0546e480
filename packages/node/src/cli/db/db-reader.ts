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
import { keyOptions } from "../options/store-keys.ts";
import { type ProgressDisplay, showProgress } from "../terminal/progress-display.ts";
import { formatCount } from "../../text/quantities.ts";
import { type Terminal } from "../terminal/terminal.ts";

/** Adds the options and the help text that all `cairn db` commands share. */
export function describeDbCommand(
  command: Command,
  description: string,
  examples: readonly string[],
): Command {
  return keyOptions(describeConfiguredCommand(command, description, examples))
    .addHelpText("after", DEFAULT_PLACE)
    .option(
      "--staging <directory>",
      "the folder in which to make a temporary copy (default: the temporary folder)",
    )
    .option(
      "--log <id>",
      "consider only checkpoints of this log, if a folder contains checkpoints of several logs",
    )
    .option("--no-checksums", "do not compare the tables with their checksums first");
}

const DEFAULT_PLACE =
  "\nThe place defaults to the index of the configured node. With a configuration (-f, -e, -j), it can also be the name of a checkpoint in the configured store.";

export interface OpenedDb {
  readonly copy: DbCopy;
  readonly kv: KvStore;
  /** The same database; its range reads show their progress and end when the command is interrupted. */
  readonly reader: KvReader;
}

/** Unless `checksums` is false, first compares tables with their checksums; throws `INDEX_CORRUPT` if one differs. */
export function withDb<T>(
  place: string | undefined,
  options: DbOptions,
  terminal: Terminal,
  use: (db: OpenedDb) => Promise<T>,
): Promise<T> {
  return withDbCopy(place, options, terminal, async (copy) => {
    // LevelDB does not verify checksums when it reads, so it would print a value with a flipped bit like any other.
    if (options.checksums) await requireWholeTables(copy, terminal);
    return await openCopy(copy, terminal, use);
  });
}

/**
 * Like {@link withDb}, but requires a Cairn index. Throws `INDEX_VERSION` for an index of another version, and
 * `INDEX_CORRUPT` if the database is not an index.
 */
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

/** Runs `use` with the opened copy. Its tables must have been checked before. */
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
      `${source} is a LevelDB database, but not a Cairn index with any content.`,
      {
        hint: "Use cairn db check, stats, compact or keys --raw, which work with any LevelDB database.",
      },
    );
  }
  const state = await readState(kv);
  if (state === undefined) throw new Error("the state row is missing");
  return state;
}

/** Throws `INDEX_CORRUPT` at the first part of a table that differs from its checksum. */
export async function requireWholeTables(copy: DbCopy, terminal: Terminal): Promise<void> {
  for await (const { table, what, error } of tableDamage(copy, terminal)) {
    throw new CairnError("INDEX_CORRUPT", `${copy.source} is damaged: table ${table}, ${what}.`, {
      hint: "Run cairn db check to list all damage, or add --no-checksums to read whatever is still readable.",
      cause: error,
    });
  }
}

/** A damaged part of a table in the original. */
export interface DamagedPart {
  readonly table: string;
  /** The byte range of the part, and its problem. */
  readonly what: string;
  /** The first affected row. If it is undefined, the affected rows begin after `after`. They end with `upTo`. */
  readonly from: Uint8Array | undefined;
  readonly after: Uint8Array | undefined;
  readonly upTo: Uint8Array;
  readonly error: CairnError;
}

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
        // LevelDB shortens the keys that separate blocks, so the last separator may be beyond all rows.
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

/** Returns whether an error means that an index cannot be used, rather than that it could not be read. */
export function isUnusable(error: unknown): error is CairnError {
  return isCairnError(error, "INDEX_CORRUPT") || isCairnError(error, "INDEX_VERSION");
}
