import type { TableRow } from "../tables/check-table.ts";
import { lowerBound, type RangedTable, type Tail } from "./ranged-table.ts";

/** The numbers of bytes that a cursor reads ahead at first and at most: many loops end early. */
const FIRST_AHEAD = 16 * 1024;
const MAX_AHEAD = 256 * 1024;

/** A place in sorted rows. Versions of one key are ordered from the newest to the oldest. */
export interface ChangeCursor {
  /** The row at the place; undefined beyond the last one. */
  readonly row: TableRow | undefined;
  /**
   * Moves to the first row at or after `key` or, in reverse, to the newest version of the last row at or before `key`.
   * Without a key, moves to the first or the last row.
   */
  seek(key: Uint8Array | undefined): Promise<void>;
  /** Moves to the next row. Returns a promise only if it must be read. */
  next(): Promise<void> | undefined;
}

export class MemoryCursor implements ChangeCursor {
  row: TableRow | undefined;
  readonly #rows: readonly TableRow[];
  readonly #step: 1 | -1;
  #at = 0;

  constructor(rows: readonly TableRow[], reverse: boolean) {
    this.#rows = rows;
    this.#step = reverse ? -1 : 1;
  }

  async seek(key: Uint8Array | undefined): Promise<void> {
    this.#at = placeOf(this.#rows, key, this.#step) - this.#step;
    this.next();
  }

  next(): undefined {
    this.#at += this.#step;
    this.row = this.#rows[this.#at];
  }
}

/** A cursor over tables that do not overlap, in the order of their keys. */
export class TableCursor implements ChangeCursor {
  row: TableRow | undefined;
  readonly #tables: readonly RangedTable[];
  readonly #step: 1 | -1;
  #ahead = FIRST_AHEAD;
  #table = 0;
  #tail: Tail | undefined;
  #block = 0;
  #rows: readonly TableRow[] = [];
  #at = 0;

  constructor(tables: readonly RangedTable[], reverse: boolean) {
    this.#tables = tables;
    this.#step = reverse ? -1 : 1;
  }

  async seek(key: Uint8Array | undefined): Promise<void> {
    const { length } = this.#tables;
    const isForward = this.#step > 0;
    const found =
      key === undefined ? -1 : this.#tables.findIndex(({ last }) => Buffer.compare(last, key) >= 0);
    this.#table = found >= 0 ? found : key === undefined && isForward ? 0 : isForward ? length : length - 1;
    const table = this.#tables[this.#table];
    if (table === undefined) return;
    this.#tail = await table.tail();
    const last = this.#tail.blocks - 1;
    this.#block = key === undefined ? (isForward ? 0 : last) : Math.min(table.blockAt(this.#tail, key), last);
    await this.#load(table, this.#tail);
    this.#at = placeOf(this.#rows, key, this.#step);
    await this.#settle();
  }

  next(): Promise<void> | undefined {
    this.#at += this.#step;
    this.row = this.#rows[this.#at];
    return this.row === undefined ? this.#settle() : undefined;
  }

  /** Moves to the next block, or table, that has rows if the place is beyond the rows of the current block. */
  async #settle(): Promise<void> {
    for (;;) {
      this.row = this.#rows[this.#at];
      let table = this.#tables[this.#table];
      if (this.row !== undefined || table === undefined) return;
      this.#block += this.#step;
      if (this.#tail === undefined || this.#block < 0 || this.#block >= this.#tail.blocks) {
        this.#table += this.#step;
        table = this.#tables[this.#table];
        if (table === undefined) return;
        this.#tail = await table.tail();
        this.#block = this.#step > 0 ? 0 : this.#tail.blocks - 1;
      }
      await this.#load(table, this.#tail);
      this.#at = this.#step > 0 ? 0 : this.#rows.length - 1;
    }
  }

  async #load(table: RangedTable, tail: Tail): Promise<void> {
    this.#rows = await table.rows(tail, this.#block, this.#step * this.#ahead);
    this.#ahead = Math.min(2 * this.#ahead, MAX_AHEAD);
  }
}

function placeOf(rows: readonly TableRow[], key: Uint8Array | undefined, step: 1 | -1): number {
  if (key === undefined) return step > 0 ? 0 : rows.length - 1;
  const at = lowerBound(rows.length, (place) => (rows[place] as TableRow).key, key);
  if (step > 0) return at;
  const row = rows[at];
  return row !== undefined && Buffer.compare(row.key, key) === 0 ? at : at - 1;
}
