import type { KvOperation, KvRange, KvReader, KvRow, KvSnapshot, KvStore, KvText, KvValue } from "@cairn/kv";
import { contentRowKey, ROW, type RowKind, versionRevision } from "./row-keys.ts";
import {
  headLength,
  headOf,
  headRevision,
  joined,
  joinedText,
  textHeadRevision,
  versionValueDocument,
  versionValueRevision,
} from "./version-values.ts";

/*
 * The document of a version, unless it is small, is in a row of its own, in the order of transactions, and never moves:
 * its document row, and later its version row, only has a head. LevelDB then writes a document twice and merges it once,
 * however often others are written. Readers do not see this: they get document and version rows with the documents. What
 * version 2 wrote (`inPlace` of the state) moves when it is superseded.
 */

/** A change of an index's row. `isStored` is set for a version that was read, and whose document has a row of its own. */
export type RowChange = KvOperation & { readonly isStored?: true };

/** Returns a store of the same rows in which versions have their documents. */
export function indexRows(kv: KvStore): KvStore {
  return kv instanceof IndexRows ? kv : new IndexRows(kv);
}

/** Like {@link indexRows}, for a store or snapshot that does not change. */
export function indexReader(reader: KvReader): KvReader {
  return new VersionReader(reader);
}

/** Returned for a version whose content row is missing. It has no valid checksum. */
const DAMAGED = new Uint8Array(0);
/** The numbers of bytes of documents that a range reads first and at most at once: many loops end early. */
const FIRST_BYTES = 64 * 1024;
const MAX_BYTES = 1024 * 1024;

/** A reader that joins versions with their documents, or a reader on top of it. */
interface JoiningReader extends KvReader {
  /** Reads the same rows as they are stored, without reading the documents of versions. */
  readonly heads: KvReader;
}

/** Returns a reader of the same rows, in which versions may lack their documents. */
export function headsOf(reader: KvReader): KvReader {
  return "heads" in reader ? (reader as JoiningReader).heads : reader;
}

class VersionReader implements JoiningReader {
  readonly raw: KvReader;

  constructor(raw: KvReader) {
    this.raw = raw;
  }

  get heads(): KvReader {
    return this.raw;
  }

  get(key: Uint8Array): KvValue {
    const value = this.raw.get(key);
    if (!isVersion(key)) return value;
    return value instanceof Promise ? value.then((head) => this.#whole(key, head)) : this.#whole(key, value);
  }

  #whole(key: Uint8Array, head: Uint8Array | undefined): KvValue {
    const revision = head && headRevision(head);
    if (head === undefined || revision === undefined) return head;
    const content = this.raw.get(contentRowKey(key, revision));
    if (content instanceof Promise)
      return content.then((found) => (found === undefined ? this.#again(key, head) : joined(head, found)));
    return content === undefined ? this.#again(key, head) : joined(head, content);
  }

  /** Between two reads, a version can be removed with its document. If its head is still there, it is damaged. */
  async #again(key: Uint8Array, before: Uint8Array): Promise<Uint8Array | undefined> {
    const head = await this.raw.get(key);
    if (head !== undefined && Buffer.compare(head, before) === 0) return DAMAGED;
    return await this.#whole(key, head);
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const values = await this.raw.getMany(keys);
    const places: number[] = [];
    const contentKeys: Uint8Array[] = [];
    for (const [place, value] of values.entries()) {
      const key = keys[place] as Uint8Array;
      const revision = value === undefined || !isVersion(key) ? undefined : headRevision(value);
      if (revision === undefined) continue;
      places.push(place);
      contentKeys.push(contentRowKey(key, revision));
    }
    if (places.length === 0) return values;
    const contents = await this.raw.getMany(contentKeys);
    for (const [at, place] of places.entries()) {
      const head = values[place] as Uint8Array;
      const content = contents[at];
      values[place] =
        content === undefined ? await this.#again(keys[place] as Uint8Array, head) : joined(head, content);
    }
    return values;
  }

  range(range: KvRange): AsyncIterable<readonly KvRow[]> {
    return mayHaveVersions(range) ? this.#joinedRows(this.raw.range(range)) : this.raw.range(range);
  }

  async *#joinedRows(pages: AsyncIterable<readonly KvRow[]>): AsyncGenerator<readonly KvRow[], void, void> {
    let most = FIRST_BYTES;
    for await (const rows of pages) {
      for (let from = 0; from < rows.length;) {
        const to = endOfSlice(rows, from, most);
        yield await this.#joinedSlice(rows.slice(from, to));
        from = to;
        most = Math.min(2 * most, MAX_BYTES);
      }
    }
  }

  async #joinedSlice(rows: readonly KvRow[]): Promise<readonly KvRow[]> {
    const contentKeys = rows.flatMap(([key, value]) => {
      const revision = isVersion(key) ? headRevision(value) : undefined;
      return revision === undefined ? [] : [contentRowKey(key, revision)];
    });
    if (contentKeys.length === 0) return rows;
    const contents = await this.raw.getMany(contentKeys);
    let at = 0;
    return rows.map((row): KvRow => {
      const [key, value] = row;
      if (!isVersion(key) || headRevision(value) === undefined) return row;
      const content = contents[at++];
      return [key, content === undefined ? DAMAGED : joined(value, content)];
    });
  }
}

function endOfSlice(rows: readonly KvRow[], from: number, most: number): number {
  let bytes = 0;
  for (let at = from; at < rows.length; at += 1) {
    bytes += headLength((rows[at] as KvRow)[1]);
    if (bytes > most) return Math.max(at, from + 1);
  }
  return rows.length;
}

class VersionSnapshot extends VersionReader implements KvSnapshot {
  declare readonly raw: KvSnapshot;

  async close(): Promise<void> {
    await this.raw.close();
  }
}

class IndexRows extends VersionReader implements KvStore {
  declare readonly raw: KvStore;
  readonly getText?: (key: Uint8Array) => KvText;
  readonly purge?: NonNullable<KvStore["purge"]>;
  readonly checked?: NonNullable<KvStore["checked"]>;
  readonly scrub?: NonNullable<KvStore["scrub"]>;

  constructor(raw: KvStore) {
    super(raw);
    const { getText, purge, checked, scrub } = raw;
    if (getText !== undefined) this.getText = textReader(getText.bind(raw));
    if (purge !== undefined) this.purge = purge.bind(raw);
    if (checked !== undefined) this.checked = checked.bind(raw);
    if (scrub !== undefined) this.scrub = scrub.bind(raw);
  }

  /** Reads a snapshot, because a version that is removed during the loop is removed with its document. */
  override range(range: KvRange): AsyncIterable<readonly KvRow[]> {
    return mayHaveVersions(range) ? closedAfter(this.snapshot(), range) : this.raw.range(range);
  }

  async batch(operations: readonly RowChange[], options?: { sync?: boolean }): Promise<void> {
    const rows: KvOperation[] = [];
    for (const change of operations) {
      if (!isVersion(change.key)) rows.push(change);
      else if (change.type === "put") pushVersion(rows, change);
      else {
        rows.push(change);
        // A document row is removed without its document, which may have become that of a version row.
        if (change.key[0] === ROW.version)
          rows.push({ type: "del", key: contentRowKey(change.key, versionRevision(change.key)) });
      }
    }
    await this.raw.batch(rows, options);
  }

  snapshot(): KvSnapshot {
    return new VersionSnapshot(this.raw.snapshot());
  }

  capture: KvStore["capture"] = async (dir, options) => await this.raw.capture(dir, options);
  compact: KvStore["compact"] = async () => await this.raw.compact();
  stats: KvStore["stats"] = async () => await this.raw.stats();
  close: KvStore["close"] = async () => await this.raw.close();
}

async function* closedAfter(
  snapshot: KvSnapshot,
  range: KvRange,
): AsyncGenerator<readonly KvRow[], void, void> {
  try {
    yield* snapshot.range(range);
  } finally {
    await snapshot.close();
  }
}

function textReader(getText: (key: Uint8Array) => KvText): (key: Uint8Array) => KvText {
  const whole = (key: Uint8Array, head: string | undefined): KvText => {
    const revision = head === undefined ? undefined : textHeadRevision(head);
    if (head === undefined || revision === undefined) return head;
    const content = getText(contentRowKey(key, revision));
    if (content instanceof Promise)
      return content.then((found) => (found === undefined ? again(key, head) : joinedText(head, found)));
    return content === undefined ? again(key, head) : joinedText(head, content);
  };
  const again = async (key: Uint8Array, before: string): Promise<string | undefined> => {
    const head = await getText(key);
    return head === before ? "" : await whole(key, head);
  };
  return (key) => {
    const value = getText(key);
    if (!isVersion(key)) return value;
    return value instanceof Promise ? value.then((head) => whole(key, head)) : whole(key, value);
  };
}

function pushVersion(rows: KvOperation[], change: RowChange & { readonly type: "put" }): void {
  const { key, value, isStored } = change;
  const head = headOf(key, value);
  if (head === undefined) {
    rows.push(change);
    return;
  }
  rows.push({ type: "put", key, value: head });
  if (isStored === true) return;
  const contentKey = contentRowKey(key, versionValueRevision(value));
  rows.push({ type: "put", key: contentKey, value: versionValueDocument(value) });
}

/** Returns whether the document of a row with this key may have a row of its own. */
function isVersion(key: Uint8Array): boolean {
  return key[0] === ROW.document || key[0] === ROW.version;
}

function mayHaveVersions(range: KvRange): boolean {
  return overlaps(range, ROW.document) || overlaps(range, ROW.version);
}

function overlaps({ gte, gt, lt, lte }: KvRange, kind: RowKind): boolean {
  const from = (gte ?? gt)?.[0] ?? 0;
  if (from > kind) return false;
  if (lte !== undefined) return (lte[0] ?? 0) >= kind;
  if (lt === undefined) return true;
  return (lt[0] ?? 0) > kind || (lt[0] === kind && lt.length > 1);
}
