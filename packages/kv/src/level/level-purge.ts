import { readdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { readCurrentManifest } from "../files/current-manifest.ts";
import { levelFileNumbers } from "../files/level-files.ts";
import { type LevelManifest, type LevelTable, needsLog } from "../files/level-manifest.ts";
import type { KvOperation, KvPurge, KvPurged, KvPurgeRange, KvPurging, KvStore } from "../store/kv-store.ts";
import { KEPT_FOLDER, PREPARING_FOLDER } from "./kept-logs.ts";
import type { OpenReaders } from "./open-readers.ts";
import { UNCHECKED_FOLDER } from "./checks-on-opening.ts";

export interface PurgedLevel {
  readonly dir: string;
  readonly readers: OpenReaders;
  /** Calls LevelDB's `CompactRange`. The range includes both keys. */
  readonly compact: (begin: Uint8Array, end: Uint8Array) => Promise<void>;
  readonly store: Pick<KvStore, "getMany" | "batch">;
  /** Throws if the store may no longer be written to. */
  readonly assertUsable: () => void;
}

const OPENING_FOLDERS = new Set([UNCHECKED_FOLDER, KEPT_FOLDER, PREPARING_FOLDER]);
/** A key above all rows. Compacting it flushes the memtable and waits for a running compaction. */
const BEHIND_ALL_ROWS = new Uint8Array(64).fill(0xff);
const MAX_WAIT_MS = 5_000;
/** One try suffices to rewrite all tables of a piece, unless another compaction runs in the meantime. */
const MAX_TRIES = 4;

/**
 * Overwrites the data of removed rows in LevelDB's files.
 *
 * A table's number shows which rows it can contain. Once there are no earlier readers and the memtable is flushed, all
 * removed rows are in tables with numbers below the next one (`#since`). A table that a compaction writes afterwards
 * contains no row that was removed before. Therefore, removed rows are gone once no live table with a lower number
 * overlaps the ranges, and the files of tables that are no longer live have been removed.
 *
 * LevelDB does not compact the deepest level that has tables of a range, where a removed row can stay next to its
 * deletion. To have such a table rewritten, the purge writes one of its rows again, unchanged.
 */
export class LevelPurge implements KvPurge {
  readonly #level: PurgedLevel;
  readonly #ranges: readonly KvPurgeRange[];
  readonly #mark: number;
  #since: number | undefined;
  #pieces: PurgePiece[] = [];

  constructor(ranges: readonly KvPurgeRange[], level: PurgedLevel) {
    this.#ranges = ranges;
    this.#level = level;
    this.#mark = level.readers.mark();
  }

  async run(purging: KvPurging): Promise<KvPurged> {
    const { withinMs, signal } = purging;
    const end = performance.now() + withinMs;
    const { readers } = this.#level;
    if (!(await readers.ended(this.#mark, Math.min(withinMs, MAX_WAIT_MS), signal))) return "read";
    if (this.#since === undefined) {
      await this.#flush();
      const manifest = await this.#manifest();
      this.#pieces = piecesOf(this.#ranges, tablesOf(manifest));
      this.#since = manifest.nextFile;
    }
    for (let piece = this.#pieces.at(-1); piece !== undefined; piece = this.#pieces.at(-1)) {
      signal?.throwIfAborted();
      this.#level.assertUsable();
      if (performance.now() >= end) return "unfinished";
      if (!(await this.#rewrite(piece, this.#since, purging))) return "unfinished";
      this.#pieces.pop();
    }
    if (!(await this.#removeOldFiles(this.#since, end, signal))) return "read";
    return (await this.#keysAreGone(purging)) ? "gone" : "named";
  }

  /** Compacts a piece. Returns whether all of its tables have been rewritten. */
  async #rewrite({ gte, lt }: PurgePiece, since: number, purging: KvPurging): Promise<boolean> {
    const { compact } = this.#level;
    await compact(gte, lt);
    for (let tries = 1; ; tries++) {
      const manifest = await this.#manifest();
      const old = tablesOf(manifest).filter(
        ({ number, first, last }) =>
          number < since && Buffer.compare(first, lt) < 0 && Buffer.compare(last, gte) >= 0,
      );
      if (old.length === 0) return true;
      if (tries === MAX_TRIES) return false;
      await this.#touch(old, purging);
      const keys = [...old.flatMap(({ first, last }) => [first, last]), gte, lt].toSorted(Buffer.compare);
      await compact(keys[0] ?? gte, keys.at(-1) ?? lt);
    }
  }

  /** LevelDB removes a file at the end of the first flush or compaction after the file's last reader has closed. */
  async #removeOldFiles(since: number, end: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { readers } = this.#level;
    for (let tries = 1; ; tries++) {
      if (!(await this.#hasOldFiles(since))) return true;
      if (tries === MAX_TRIES) return false;
      const leftMs = Math.max(0, end - performance.now());
      if (!(await readers.ended(readers.mark(), Math.min(leftMs, MAX_WAIT_MS), signal))) return false;
      await this.#flush();
    }
  }

  async #hasOldFiles(since: number): Promise<boolean> {
    const manifest = await this.#manifest();
    const names = await readdir(this.#level.dir);
    // These folders contain links to tables and logs, which are kept until the database is completely open.
    if (names.some((name) => OPENING_FOLDERS.has(name))) return true;
    return (
      levelFileNumbers(names, "ldb").some((number) => number < since && !manifest.tables.has(number)) ||
      levelFileNumbers(names, "log").some((number) => number < since && !needsLog(manifest, number))
    );
  }

  /**
   * Removes keys from LevelDB's text log, and checks the manifest, which names the first and last keys of all tables
   * that ever existed.
   */
  async #keysAreGone(purging: KvPurging): Promise<boolean> {
    const ranges = this.#ranges.filter(({ keys }) => keys !== undefined);
    if (ranges.length === 0) return true;
    const { dir } = this.#level;
    const hasRemoved = async (found: Iterable<Uint8Array>): Promise<boolean> => {
      const named = [...found].filter((key) =>
        ranges.some(
          ({ gte, lt, keys }) => Buffer.compare(key, gte) >= 0 && Buffer.compare(key, lt) < 0 && keys?.(key),
        ),
      );
      return (await this.#level.store.getMany(named)).includes(undefined);
    };
    if (await hasRemoved((await this.#manifest()).pointers.values())) await this.#movePointers(purging);
    await truncate(join(dir, "LOG"));
    await rm(join(dir, "LOG.old"), { force: true });
    return !(await hasRemoved((await this.#manifest()).namedKeys));
  }

  /**
   * Makes the last compaction of each level end at a different key, because the next manifest will name these keys as
   * well. A row that is rewritten is flushed to the level above the first level that contains its key. If it is
   * rewritten once more, it is flushed to the level above that, so that it is eventually compacted through all levels.
   */
  async #movePointers(purging: KvPurging): Promise<void> {
    const { tables } = await this.#manifest();
    const [deepest] = [...tables.values()].toSorted((a, b) => b.level - a.level);
    if (deepest === undefined) return;
    for (let round = 0; round < 2; round++) {
      await this.#touch([deepest], purging);
      await this.#flush();
    }
    await this.#level.compact(deepest.first, deepest.last);
  }

  /**
   * Writes a key between the first and the last of each table, so that compacting it rewrites the table. Rows do not
   * change. If the table has only a removed key there, the key is removed again. That deletion remains in the new table
   * while an earlier state is being read.
   */
  async #touch(
    tables: readonly Pick<LevelTable, "first" | "last">[],
    { alone, signal }: KvPurging,
  ): Promise<void> {
    const { store, readers } = this.#level;
    let isRemovedAgain = false;
    await alone(async () => {
      const ends = await store.getMany(tables.flatMap(({ first, last }) => [first, last]));
      const keys = tables.map(({ first, last }, at) => {
        if (ends[2 * at] !== undefined) return first;
        if (ends[2 * at + 1] !== undefined) return last;
        isRemovedAgain ||= Buffer.compare(first, last) === 0;
        return between(first, last);
      });
      const values = await store.getMany(keys);
      const again = keys.map((key, at): KvOperation => {
        const value = values[at];
        return value === undefined ? { type: "del", key } : { type: "put", key, value };
      });
      await store.batch(again);
    });
    if (isRemovedAgain) await readers.ended(readers.mark(), MAX_WAIT_MS, signal);
  }

  async #flush(): Promise<void> {
    await this.#level.compact(BEHIND_ALL_ROWS, BEHIND_ALL_ROWS);
  }

  #manifest(): Promise<LevelManifest> {
    return readCurrentManifest(this.#level.dir);
  }
}

/**
 * Returns the shortest possible key that is after `first` and not after `last`. Rows with these two keys need not
 * exist.
 */
function between(first: Uint8Array, last: Uint8Array): Uint8Array {
  const differsAt = last.findIndex((byte, at) => byte !== first[at]);
  return differsAt < 0 ? first : last.subarray(0, differsAt + 1);
}

/** A range of keys that is compacted in one call, which takes seconds at most. */
interface PurgePiece {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
}

/** The approximate number of bytes that one piece rewrites per level. */
const PIECE_BYTES = 32 * 1024 * 1024;
/** About one table. Rewriting that much costs less than another compaction. */
const GAP_BYTES = 2 * 1024 * 1024;

/** Returns the live tables of a manifest, in the order of their first keys. */
function tablesOf({ tables }: LevelManifest): LevelTable[] {
  return [...tables.values()].toSorted((a, b) => Buffer.compare(a.first, b.first));
}

/** Splits large ranges, and joins those in the same tables or close to each other. The pieces are in key order. */
export function piecesOf(
  ranges: readonly Pick<KvPurgeRange, "gte" | "lt">[],
  tables: readonly Omit<LevelTable, "level" | "entry">[],
): PurgePiece[] {
  const pieces: PurgePiece[] = [];
  let at = 0;
  /** The size of the tables that begin in the last piece. */
  let bytes = 0;
  for (const { gte, lt } of ranges.toSorted((a, b) => Buffer.compare(a.gte, b.gte))) {
    const last = pieces.at(-1);
    let gap = 0;
    for (let table = tables[at]; table !== undefined; table = tables[++at]) {
      if (Buffer.compare(table.first, gte) >= 0) break;
      if (Buffer.compare(table.last, gte) < 0) gap += table.bytes;
    }
    if (
      last !== undefined &&
      ((gap <= GAP_BYTES && bytes < PIECE_BYTES) || Buffer.compare(gte, last.lt) <= 0)
    ) {
      bytes += gap;
      pieces[pieces.length - 1] = { gte: last.gte, lt: Buffer.compare(lt, last.lt) > 0 ? lt : last.lt };
    } else {
      bytes = 0;
      pieces.push({ gte, lt });
    }
    for (let table = tables[at]; table !== undefined; table = tables[++at]) {
      const piece = pieces.at(-1);
      if (piece === undefined || Buffer.compare(table.first, piece.lt) >= 0) break;
      if (bytes >= PIECE_BYTES && Buffer.compare(table.first, piece.gte) > 0) {
        pieces.splice(-1, 1, { gte: piece.gte, lt: table.first }, { gte: table.first, lt: piece.lt });
        bytes = 0;
      }
      bytes += table.bytes;
    }
  }
  return pieces;
}
