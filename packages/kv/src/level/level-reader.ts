import { explained, explainOperation, snapshotClosed } from "./level-errors.ts";
import type { OpenReaders } from "./open-readers.ts";
import type { KvRange, KvReader, KvRow, KvSnapshot } from "../store/kv-store.ts";

// A page of a range has at most this number of rows, and ends after this number of bytes.
const PAGE_ROWS = 1000;
const PAGE_BYTES = 256 * 1024;

/** The members of iterators that are used here. Iterators of both classic-level and memory-level have them. */
interface LevelIterator {
  nextv(size: number): Promise<[Uint8Array, Uint8Array][]>;
  close(): Promise<void>;
}

interface LevelSnapshot {
  close(): Promise<void>;
}

/** The members of classic-level and memory-level that are used here. Keys and values are bytes. */
interface ByteLevel {
  get(key: Uint8Array, options?: { snapshot: LevelSnapshot }): Promise<Uint8Array | undefined>;
  getMany(keys: Uint8Array[], options?: { snapshot: LevelSnapshot }): Promise<(Uint8Array | undefined)[]>;
  iterator(options: object): LevelIterator;
  snapshot(): LevelSnapshot;
}

/** Reads rows of the current state of a {@link ByteLevel}, or of a snapshot. `place` is used in messages. */
export function readsOf(
  level: ByteLevel,
  place: string,
  options?: { readonly snapshot: LevelSnapshot },
): Pick<KvReader, "get" | "getMany"> {
  return {
    get: (key) => explained(level.get(key, options), place),
    getMany: (keys) => explained(level.getMany(keys as Uint8Array[], options), place),
  };
}

/** Returns the rows of a range as of the call. Calls `opened`, and what that returns once the range is closed. */
export function pagesOf(
  level: ByteLevel,
  place: string,
  range: KvRange & { readonly snapshot?: LevelSnapshot },
  opened?: () => () => void,
): RowPages {
  try {
    // The iterator is created here, and not when the loop starts, so that it yields the rows as of the call.
    return new RowPages(level.iterator({ ...range, highWaterMarkBytes: PAGE_BYTES }), place, opened?.());
  } catch (error) {
    throw explainOperation(error, place);
  }
}

/** Returns a reader of a snapshot, which it owns. It is registered with `readers` until it is closed. */
export function snapshotReader(level: ByteLevel, place: string, readers?: OpenReaders): KvSnapshot {
  const snapshot = level.snapshot();
  const closed = readers?.open();
  /** The open ranges; undefined once the snapshot is closed. */
  let ranges: Set<RowPages> | undefined = new Set();
  return {
    ...readsOf(level, place, { snapshot }),
    range(range) {
      const open = ranges;
      if (open === undefined) throw snapshotClosed();
      const pages: RowPages = pagesOf(level, place, { ...range, snapshot }, () => () => open.delete(pages));
      open.add(pages);
      return pages;
    },
    async close() {
      // LevelDB keeps the rows of an open iterator even if its snapshot is closed, and an error may have kept the caller
      // from reading a range to its end, or at all.
      const left = ranges ?? new Set();
      ranges = undefined;
      await Promise.all(Array.from(left, (pages) => pages.return()));
      await snapshot.close();
      closed?.();
    },
  };
}

class RowPages implements AsyncIterableIterator<readonly KvRow[]> {
  readonly #iterator: LevelIterator;
  readonly #place: string;
  readonly #closed: (() => void) | undefined;
  #isAtEnd = false;

  constructor(iterator: LevelIterator, place: string, closed: (() => void) | undefined) {
    this.#iterator = iterator;
    this.#place = place;
    this.#closed = closed;
  }

  async next(): Promise<IteratorResult<readonly KvRow[], undefined>> {
    if (this.#isAtEnd) return { done: true, value: undefined };
    try {
      const rows = await this.#iterator.nextv(PAGE_ROWS);
      if (rows.length > 0) return { done: false, value: rows };
    } catch (error) {
      await this.#close();
      throw explainOperation(error, this.#place);
    }
    this.#isAtEnd = true;
    return this.return();
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.#close();
    return { done: true, value: undefined };
  }

  async #close(): Promise<void> {
    await this.#iterator.close();
    this.#closed?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
