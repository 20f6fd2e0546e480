import type { KvOperation, KvRange, KvReader, KvRow } from "@cairn/kv";

/** Rows in the order of their keys. A batch creates a new array, so each array is an immutable snapshot. */
export type SortedRows = readonly KvRow[];

const ROWS_PER_PAGE = 500;

/** Returns the rows after a batch. */
export function withBatch(rows: SortedRows, operations: readonly KvOperation[]): SortedRows {
  const last = new Map(
    operations.map((operation) => [Buffer.from(operation.key).toString("latin1"), operation]),
  );
  const changes = [...last.values()].toSorted((a, b) => Buffer.compare(a.key, b.key));
  const parts: SortedRows[] = [];
  let from = 0;
  for (const change of changes) {
    const at = firstNotBefore(rows, change.key, from);
    parts.push(rows.slice(from, at));
    if (change.type === "put") parts.push([[change.key, change.value]]);
    from = hasKey(rows, at, change.key) ? at + 1 : at;
  }
  parts.push(rows.slice(from));
  return parts.flat();
}

/** Reads the rows that `current` returns. `current` throws once they must no longer be read. */
export class RowsReader implements KvReader {
  readonly #current: () => SortedRows;

  constructor(current: () => SortedRows) {
    this.#current = current;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return valueOf(this.#current(), key);
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const rows = this.#current();
    return keys.map((key) => valueOf(rows, key));
  }

  range(range: KvRange): AsyncIterable<readonly KvRow[]> {
    // The state is read at the time of the call, not when the first page is requested.
    return this.#pages(this.#current(), range);
  }

  async *#pages(rows: SortedRows, range: KvRange): AsyncGenerator<readonly KvRow[]> {
    const [from, to] = boundsOf(rows, range);
    const count = Math.min(to - from, range.limit ?? Number.POSITIVE_INFINITY);
    for (let done = 0; done < count; done += ROWS_PER_PAGE) {
      this.#current();
      const size = Math.min(ROWS_PER_PAGE, count - done);
      if (range.reverse === true) yield rows.slice(to - done - size, to - done).toReversed();
      else yield rows.slice(from + done, from + done + size);
    }
  }
}

function boundsOf(rows: SortedRows, { gte, gt, lt, lte }: KvRange): [from: number, to: number] {
  const before = (key: Uint8Array): number => firstNotBefore(rows, key, 0);
  const after = (key: Uint8Array): number => {
    const at = before(key);
    return hasKey(rows, at, key) ? at + 1 : at;
  };
  const from = gte === undefined ? (gt === undefined ? 0 : after(gt)) : before(gte);
  const to = lt === undefined ? (lte === undefined ? rows.length : after(lte)) : before(lt);
  return [from, Math.max(from, to)];
}

function valueOf(rows: SortedRows, key: Uint8Array): Uint8Array | undefined {
  const at = firstNotBefore(rows, key, 0);
  return hasKey(rows, at, key) ? rows[at]?.[1] : undefined;
}

function hasKey(rows: SortedRows, at: number, key: Uint8Array): boolean {
  const row = rows[at];
  return row !== undefined && Buffer.compare(row[0], key) === 0;
}

function firstNotBefore(rows: SortedRows, key: Uint8Array, from: number): number {
  let [low, high] = [from, rows.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    if (row !== undefined && Buffer.compare(row[0], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
