import { CairnError, indexCorrupt } from "../errors/errors.ts";
import { resolvable } from "../concurrency/semaphore.ts";
import { decodeManifestFile, type LevelManifest } from "../files/level-manifest.ts";
import type { KvRange, KvReader, KvRow, KvSnapshot, KvStore } from "../store/kv-store.ts";
import type { TableRow } from "../tables/check-table.ts";
import { bloomHash } from "./bloom-filter.ts";
import { LoggedRows } from "./logged-rows.ts";
import { lowerBound, type RangedFiles, RangedTable, type TablePart } from "./ranged-table.ts";
import { RecentlyUsed } from "./recently-used.ts";
import { MemoryCursor, type ChangeCursor, TableCursor } from "./change-cursor.ts";

/** Indexes, filters and blocks of tables that are kept in memory (bytes). */
const KEPT_BYTES = 48 << 20;
/** The numbers of rows in the first page of a range, and in any: many loops end early. */
const FIRST_PAGE_ROWS = 128;
const MAX_PAGE_ROWS = 1_000;
const PAGE_BYTES = 256 * 1024;

/**
 * Opens a LevelDB database whose files are somewhere else, and are read in ranges, as a store that cannot be written
 * to. It reads the manifest and the write-ahead logs, and of tables only the parts that reads need. Everything is
 * compared with its checksum. Throws `INDEX_CORRUPT`, as its reads do, and the errors of `files`.
 */
export async function openRanged(files: RangedFiles): Promise<RangedStore> {
  const names = [...files.sizes.keys()].filter((name) => name.startsWith("MANIFEST-"));
  const [name = ""] = names;
  if (names.length !== 1)
    throw indexCorrupt(`${files.place} has ${names.length} LevelDB manifests, not one.`);
  const decoded = async (): Promise<LevelManifest> =>
    decodeManifestFile(`${name} of ${files.place}`, await files.whole(name));
  const [logged, { tables }] = await LoggedRows.read(files, decoded());
  const shared = { parts: new RecentlyUsed<TablePart>(KEPT_BYTES), tailBytes: new Map<string, number>() };
  const ranged = Array.from(tables.values(), (table) => new RangedTable(table, files, shared));
  return storeOf({ logged, runs: runsOf(ranged), place: files.place });
}

export interface RangedStore extends KvStore {
  /** Resolves once no snapshot is open. */
  idle(): Promise<void>;
}

/** What a database contains: rows of logs, and runs of tables that do not overlap, in the order of their keys. */
interface Content {
  readonly logged: LoggedRows;
  readonly runs: readonly (readonly RangedTable[])[];
  readonly place: string;
}

function storeOf(content: Content): RangedStore {
  const { place } = content;
  const open = openness(place);
  const snapshots = new Map<KvSnapshot, Promise<void>>();
  const refuse = async (): Promise<never> => {
    open.require();
    const hint = "Restore it, and change what was restored.";
    throw new CairnError("STORE_DENIED", `${place} can only be read.`, hint);
  };
  return {
    ...readerOf(content, open.require),
    batch: refuse,
    capture: refuse,
    compact: refuse,
    snapshot() {
      open.require();
      const own = openness(place);
      const { promise, resolve } = resolvable();
      const requireBoth = (): void => {
        open.require();
        own.require();
      };
      const snapshot: KvSnapshot = {
        ...readerOf(content, requireBoth),
        async close() {
          await own.close();
          snapshots.delete(snapshot);
          resolve();
        },
      };
      snapshots.set(snapshot, promise);
      return snapshot;
    },
    async idle() {
      while (snapshots.size > 0) await Promise.all(snapshots.values());
    },
    async stats() {
      open.require();
      // None of the files are on this disk.
      return { bytes: 0, files: 0 };
    },
    close: open.close,
  };
}

function openness(place: string): { require(): void; close(): Promise<void> } {
  let isClosed = false;
  return {
    require() {
      if (isClosed)
        throw new CairnError("NOT_READY", `${place} was closed before it was read.`, "Open it again.");
    },
    async close() {
      isClosed = true;
    },
  };
}

function readerOf(content: Content, requireOpen: () => void): KvReader {
  const get = async (key: Uint8Array): Promise<Uint8Array | undefined> => {
    requireOpen();
    const { logged, runs } = content;
    const row = logged.get(key);
    // What is in a log is newer than what is in tables.
    if (row !== undefined) return row.value;
    const hash = bloomHash(key);
    const tables = runs.flatMap((run) => tableAt(run, key) ?? []);
    const found = await Promise.all(tables.map(async (table) => await table.find(key, hash)));
    return found.reduce((newest, one) => newer(newest, one), undefined)?.value;
  };
  return {
    get,
    async getMany(keys) {
      requireOpen();
      return await Promise.all(keys.map(get));
    },
    async *range(range) {
      requireOpen();
      let [left, most, bytes] = [range.limit ?? Infinity, FIRST_PAGE_ROWS, 0];
      let page: KvRow[] = [];
      if (left <= 0) return;
      const rows = new NewestRows(content, range);
      let row = await rows.first();
      while (row !== undefined) {
        const { key, value } = row;
        if (value !== undefined) {
          page.push([key, value]);
          bytes += key.length + value.length;
          left -= 1;
          if (left === 0) break;
        }
        if (page.length >= most || bytes >= PAGE_BYTES) {
          yield page;
          requireOpen();
          page = [];
          [most, bytes] = [Math.min(2 * most, MAX_PAGE_ROWS), 0];
        }
        const next = rows.next();
        row = next instanceof Promise ? await next : next;
      }
      if (page.length > 0) yield page;
    },
  };
}

/** The newest change of each key in a range, in the order of the keys. */
class NewestRows {
  readonly #cursors: ChangeCursor[];
  readonly #range: KvRange;
  readonly #reverse: boolean;

  constructor({ logged, runs }: Content, range: KvRange) {
    const { reverse = false } = range;
    this.#range = range;
    this.#reverse = reverse;
    this.#cursors = [new MemoryCursor(logged.sorted(), reverse)];
    const [lower, upper] = [range.gte ?? range.gt, range.lt ?? range.lte];
    for (const run of runs) {
      const tables = run.filter(
        ({ first, last }) =>
          (upper === undefined || Buffer.compare(first, upper) <= 0) &&
          (lower === undefined || Buffer.compare(last, lower) >= 0),
      );
      if (tables.length > 0) this.#cursors.push(new TableCursor(tables, reverse));
    }
  }

  async first(): Promise<TableRow | undefined> {
    const { gte, gt, lt, lte } = this.#range;
    const start = this.#reverse ? (lt ?? lte) : (gte ?? gt);
    await Promise.all(this.#cursors.map(async (cursor) => await cursor.seek(start)));
    // The start may be excluded.
    let row = await this.next();
    while (row !== undefined && this.#isOutside(row, !this.#reverse)) row = await this.next();
    return row;
  }

  /** Returns a promise only if rows must be read. */
  next(): TableRow | undefined | Promise<TableRow | undefined> {
    return this.#collect(undefined);
  }

  /** Reads all changes of the next key, of which `newest` is the newest so far. */
  #collect(newest: TableRow | undefined): TableRow | undefined | Promise<TableRow | undefined> {
    let found = newest;
    for (;;) {
      const cursor = this.#leading();
      const row = cursor?.row;
      const isOther = found !== undefined && row !== undefined && Buffer.compare(found.key, row.key) !== 0;
      if (cursor === undefined || row === undefined || isOther)
        return found === undefined || this.#isOutside(found, this.#reverse) ? undefined : found;
      found = newer(found, row);
      const moved = cursor.next();
      if (moved !== undefined) return this.#collectAfter(moved, found);
    }
  }

  async #collectAfter(moved: Promise<void>, found: TableRow): Promise<TableRow | undefined> {
    await moved;
    return await this.#collect(found);
  }

  /** Returns the cursor whose row comes next. */
  #leading(): ChangeCursor | undefined {
    let leading: ChangeCursor | undefined;
    for (const cursor of this.#cursors) {
      if (cursor.row === undefined) continue;
      const order = leading?.row === undefined ? 0 : Buffer.compare(cursor.row.key, leading.row.key);
      if (leading === undefined || (this.#reverse ? order > 0 : order < 0)) leading = cursor;
    }
    return leading;
  }

  /** Returns whether a row is below the lower bound or, otherwise, above the upper one. */
  #isOutside({ key }: TableRow, isLower: boolean): boolean {
    const { gte, gt, lt, lte } = this.#range;
    if (isLower && gte !== undefined) return Buffer.compare(key, gte) < 0;
    if (isLower) return gt !== undefined && Buffer.compare(key, gt) <= 0;
    if (lt !== undefined) return Buffer.compare(key, lt) >= 0;
    return lte !== undefined && Buffer.compare(key, lte) > 0;
  }
}

function newer(a: TableRow | undefined, b: TableRow): TableRow;
function newer(a: TableRow | undefined, b: TableRow | undefined): TableRow | undefined;
function newer(a: TableRow | undefined, b: TableRow | undefined): TableRow | undefined {
  return b === undefined || (a !== undefined && a.sequence > b.sequence) ? a : b;
}

/** Returns the first table of a run that contains the key within its bounds, in which its newest version is. */
function tableAt(run: readonly RangedTable[], key: Uint8Array): RangedTable | undefined {
  const table = run[lowerBound(run.length, (at) => (run[at] as RangedTable).last, key)];
  return table !== undefined && Buffer.compare(table.first, key) <= 0 ? table : undefined;
}

/** Levels beyond 0 consist of tables that do not overlap; the tables of level 0 do. */
function runsOf(tables: readonly RangedTable[]): RangedTable[][] {
  const levels = new Map<number, RangedTable[]>();
  const runs: RangedTable[][] = [];
  for (const table of tables) {
    const level = table.level === 0 ? undefined : levels.get(table.level);
    if (level !== undefined) level.push(table);
    else {
      const run = [table];
      runs.push(run);
      levels.set(table.level, run);
    }
  }
  for (const run of runs) run.sort((a, b) => Buffer.compare(a.first, b.first));
  return runs;
}
