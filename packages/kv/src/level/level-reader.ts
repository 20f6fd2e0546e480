import { explained, explainOperation, snapshotClosed } from "./level-errors.ts";
import type { OpenReaders } from "./open-readers.ts";
import type { KvOperation, KvRange, KvReader, KvRow, KvSnapshot, KvValue } from "../store/kv-store.ts";

// A page of a range has at most this number of rows, and ends after this number of bytes.
const PAGE_ROWS = 1000;
const PAGE_BYTES = 256 * 1024;

/** The members of iterators that are used here. Iterators of both classic-level and memory-level have them. */
interface LevelIterator {
  nextv(size: number): Promise<[Uint8Array, Uint8Array][]>;
  close(): Promise<void>;
}

/** A frozen state of a {@link ByteLevel}. */
export interface LevelSnapshot {
  close(): Promise<void>;
}

/** The members of classic-level and memory-level that are used here. Keys and values are bytes. */
export interface ByteLevel {
  get(key: Uint8Array, options?: { snapshot: LevelSnapshot }): Promise<Uint8Array | undefined>;
  getMany(keys: Uint8Array[], options?: { snapshot: LevelSnapshot }): Promise<(Uint8Array | undefined)[]>;
  iterator(options: object): LevelIterator;
  batch(operations: KvOperation[], options?: { sync: boolean }): Promise<void>;
  snapshot(): LevelSnapshot;
  close(): Promise<void>;
}

/** Reads the current state of a {@link ByteLevel}, or the state of a snapshot. `place` is used in messages. */
export class LevelReader implements KvReader {
  readonly #level: ByteLevel;
  readonly #place: string;
  readonly #options: { snapshot: LevelSnapshot } | undefined;
  readonly #readers: OpenReaders | undefined;

  /** Creates a reader that registers each open range with `readers`. */
  constructor(level: ByteLevel, place: string, snapshot?: LevelSnapshot, readers?: OpenReaders) {
    this.#level = level;
    this.#place = place;
    this.#readers = readers;
    this.#options = snapshot === undefined ? undefined : { snapshot };
  }

  get(key: Uint8Array): KvValue {
    return explained(this.#level.get(key, this.#options), this.#place);
  }

  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return explained(this.#level.getMany(keys as Uint8Array[], this.#options), this.#place);
  }

  range(range: KvRange): AsyncIterable<readonly KvRow[]> {
    return this.pages(range);
  }

  /** Calls `closed` once the range is closed; by default, the range is registered with the readers until then. */
  protected pages(range: KvRange, closed?: () => void): RowPages {
    try {
      // The iterator is created here, and not when the loop starts, so that it yields the rows as of the call.
      const options = { ...range, ...this.#options, highWaterMarkBytes: PAGE_BYTES };
      return new RowPages(this.#level.iterator(options), this.#place, closed ?? this.#readers?.open());
    } catch (error) {
      throw explainOperation(error, this.#place);
    }
  }
}

/** A reader of one snapshot, which it owns. */
export class LevelSnapshotReader extends LevelReader implements KvSnapshot {
  readonly #snapshot: LevelSnapshot;
  readonly #closed: (() => void) | undefined;
  /** The open ranges; undefined once the snapshot is closed. */
  #ranges: Set<RowPages> | undefined = new Set();

  constructor(level: ByteLevel, place: string, snapshot: LevelSnapshot, readers?: OpenReaders) {
    super(level, place, snapshot);
    this.#snapshot = snapshot;
    this.#closed = readers?.open();
  }

  protected override pages(range: KvRange): RowPages {
    const ranges = this.#ranges;
    if (ranges === undefined) throw snapshotClosed();
    const pages: RowPages = super.pages(range, () => ranges.delete(pages));
    ranges.add(pages);
    return pages;
  }

  async close(): Promise<void> {
    // LevelDB keeps the rows of an open iterator even if its snapshot is closed, and an error may have kept the caller
    // from reading a range to its end, or at all.
    const ranges = this.#ranges ?? new Set();
    this.#ranges = undefined;
    await Promise.all(Array.from(ranges, (pages) => pages.return()));
    await this.#snapshot.close();
    this.#closed?.();
  }
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
