import {
  type AbstractDatabaseOptions,
  AbstractIterator,
  type AbstractIteratorOptions,
  AbstractLevel,
  AbstractSnapshot,
} from "abstract-level";
import type {
  KvOperation,
  KvProvider,
  KvRange,
  KvReader,
  KvRow,
  KvSnapshot,
  KvStore,
} from "../../../src/store/kv-store.ts";

/**
 * What the suite may expect. A store has no operations of its own for the last four: `get` shows whether a key exists,
 * and may return a promise at any time; `open` creates what is missing, and accepts what exists.
 */
const MANIFEST = {
  encodings: { view: true },
  seek: true,
  implicitSnapshots: true,
  explicitSnapshots: true,
  has: false,
  getSync: false,
  createIfMissing: false,
  errorIfExists: false,
};

/** The options of a read as abstract-level passes them on: keys are bytes, and a limit of -1 means none. */
interface ReadOptions {
  readonly snapshot?: KvLevelSnapshot;
}

interface RangeOptions extends ReadOptions, Omit<KvRange, "limit"> {
  readonly limit: number;
}

/** A key-value store as an `abstract-level` database. Each of its private methods is one or two calls of the store. */
export class KvLevel extends AbstractLevel<Uint8Array> {
  readonly #provider: KvProvider;
  readonly #dir: string;
  #store: KvStore | undefined;

  constructor(provider: KvProvider, dir: string, options?: AbstractDatabaseOptions<string, string>) {
    super(MANIFEST, options);
    this.#provider = provider;
    this.#dir = dir;
  }

  async _open(): Promise<void> {
    this.#store = await this.#provider.open(this.#dir);
  }

  async _close(): Promise<void> {
    await this.#opened.close();
    this.#store = undefined;
  }

  async _get(key: Uint8Array, options: ReadOptions): Promise<Uint8Array | undefined> {
    return await this.#readerOf(options).get(key);
  }

  async _getMany(keys: Uint8Array[], options: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return await this.#readerOf(options).getMany(keys);
  }

  async _put(key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.#opened.batch([{ type: "put", key, value }]);
  }

  async _del(key: Uint8Array): Promise<void> {
    await this.#opened.batch([{ type: "del", key }]);
  }

  async _batch(operations: readonly KvOperation[]): Promise<void> {
    await this.#opened.batch(operations);
  }

  async _clear(options: RangeOptions): Promise<void> {
    for await (const rows of this.#readerOf(options).range(rangeOf(options)))
      await this.#opened.batch(rows.map(([key]) => ({ type: "del", key })));
  }

  _iterator(options: RangeOptions): KvLevelIterator {
    const { snapshot } = options;
    const own = snapshot === undefined ? this.#opened.snapshot() : undefined;
    return new KvLevelIterator(this, options, own ?? this.#readerOf(options), own);
  }

  _snapshot(options: object): KvLevelSnapshot {
    return new KvLevelSnapshot(options, this.#opened.snapshot());
  }

  get #opened(): KvStore {
    if (this.#store === undefined) throw new Error("The suite uses a store that is not open.");
    return this.#store;
  }

  #readerOf({ snapshot }: ReadOptions): KvReader {
    return snapshot?.kv ?? this.#opened;
  }
}

/** The types of abstract-level do not contain the constructor, which needs to know the owner of the snapshot. */
const OwnedSnapshot = AbstractSnapshot as new (options: object) => AbstractSnapshot;

class KvLevelSnapshot extends OwnedSnapshot {
  readonly kv: KvSnapshot;

  constructor(options: object, kv: KvSnapshot) {
    super(options);
    this.kv = kv;
  }

  async _close(): Promise<void> {
    await this.kv.close();
  }
}

class KvLevelIterator extends AbstractIterator<KvLevel, string, string> {
  readonly #options: RangeOptions;
  readonly #reader: KvReader;
  readonly #own: KvSnapshot | undefined;
  #range: KvRange;
  #pages: AsyncIterator<readonly KvRow[]> | undefined;
  #rows: readonly KvRow[] = [];
  #at = 0;

  /** Reads from `reader`, a snapshot, and closes `own` with the iterator. */
  constructor(db: KvLevel, options: RangeOptions, reader: KvReader, own: KvSnapshot | undefined) {
    super(db, options as unknown as AbstractIteratorOptions<string, string>);
    this.#options = options;
    this.#reader = reader;
    this.#own = own;
    this.#range = rangeOf(options);
  }

  async _next(): Promise<[Uint8Array, Uint8Array] | undefined> {
    this.#pages ??= this.#reader.range(this.#range)[Symbol.asyncIterator]();
    while (this.#at === this.#rows.length) {
      const page = await this.#pages.next();
      if (page.done === true) return undefined;
      this.#rows = page.value;
      this.#at = 0;
    }
    const [key, value] = this.#rows[this.#at++] ?? [];
    return key === undefined || value === undefined ? undefined : [key, value];
  }

  /** Leaves the pages before unfinished, which a snapshot releases when it is closed. */
  _seek(target: Uint8Array): void {
    const range = rangeOf(this.#options);
    const isOutside = this.#options.reverse === true ? isAbove(target, range) : isBelow(target, range);
    this.#range = isOutside ? { limit: 0 } : beginningAt(target, range);
    this.#pages = undefined;
    this.#rows = [];
    this.#at = 0;
  }

  async _close(): Promise<void> {
    await this.#pages?.return?.();
    await this.#own?.close();
  }
}

/** Of two lower or two upper bounds, abstract-level prefers the inclusive one, and a store accepts only one. */
function rangeOf({ gt, gte, lt, lte, reverse = false, limit }: RangeOptions): KvRange {
  return {
    ...(gte !== undefined ? { gte } : gt !== undefined ? { gt } : {}),
    ...(lte !== undefined ? { lte } : lt !== undefined ? { lt } : {}),
    reverse,
    ...(limit >= 0 && { limit }),
  };
}

function beginningAt(target: Uint8Array, { gt, gte, lt, lte, ...rest }: KvRange): KvRange {
  if (rest.reverse === true) return { ...rest, ...(gte !== undefined ? { gte } : gt && { gt }), lte: target };
  return { ...rest, gte: target, ...(lte !== undefined ? { lte } : lt && { lt }) };
}

function isBelow(key: Uint8Array, { gt, gte }: KvRange): boolean {
  if (gte !== undefined) return Buffer.compare(key, gte) < 0;
  return gt !== undefined && Buffer.compare(key, gt) <= 0;
}

function isAbove(key: Uint8Array, { lt, lte }: KvRange): boolean {
  if (lte !== undefined) return Buffer.compare(key, lte) > 0;
  return lt !== undefined && Buffer.compare(key, lt) >= 0;
}
