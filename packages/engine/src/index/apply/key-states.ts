import type { KvReader } from "@cairn/kv";
import { madeOnce } from "@cairn/text";
import type { TxId } from "@cairn/client";
import type { LoggedOperation } from "../../transactions/transaction-codec.ts";
import type { RowsAhead } from "../fields/field-changes.ts";
import type { IndexState } from "../rows/index-state.ts";
import { readRows } from "../rows/row-cursor.ts";
import { activePolicies } from "../policies/active-policies.ts";
import { headsOf, type RowChange } from "../rows/index-rows.ts";
import {
  keysPerRead,
  asKind,
  contentRowKey,
  counterRowKey,
  documentRowKey,
  evictionRowKey,
  ROW,
  versionRowKey,
} from "../rows/row-keys.ts";
import { erasureOf } from "../rows/purge-row.ts";
import { decodeCounters, encodeCounters, encodeNumber } from "../rows/row-values.ts";
import {
  checkedVersion,
  encodeVersion,
  checkedHead,
  hasContentRow,
  headLength,
  type VersionHead,
  type VersionValue,
  versionValueRevision,
  storedSum,
} from "../rows/version-values.ts";

/** The state of a bucket while a batch is applied: its counters, and its keys that the batch touches. */
interface BucketState {
  readonly name: string;
  readonly keys: Map<string, KeyState>;
  superseded: number;
  documents: number;
  tombstones: number;
  /** `floor` and `gone` are as in {@link BucketCounters}. */
  floor: TxId;
  gone: TxId;
  changed: boolean;
}

/** The state of a key while a batch is applied: the values of its rows, as read and as they will be. */
export interface KeyState {
  readonly bucket: BucketState;
  readonly rowKey: Buffer;
  /** Dependent rows change only if the document has, and a row that was never written need not be removed. */
  before: VersionValue | VersionHead | undefined;
  /** The current value within the batch. A key has a document, a tombstone or neither, but never both. */
  document: VersionValue | VersionHead | undefined;
  tombstone: VersionValue | undefined;
  /** The JSON of the last document that was put, taken from its message. */
  written: Uint8Array | undefined;
  ahead: RowsAhead | undefined;
  /** True if the store has a tombstone row, which must be removed when the key no longer has a tombstone. */
  storedTombstone: boolean;
  evicted: TxId | undefined;
  /** True if the document that the store has becomes an older version. */
  isKept: boolean;
  isLoaded: boolean;
  changed: boolean;
}

/** A version that a batch wrote. It may be superseded by the same batch. */
export interface WrittenVersion {
  readonly rowKey: Buffer;
  readonly version: VersionValue;
}

/** A batch's keys are read together, changed in memory, and written as one list. Transactions see earlier changes. */
export class KeyStates {
  readonly #buckets = new Map<string, BucketState>();
  /** Reads the rows as they were before the batch. */
  readonly reader: KvReader;
  readonly all: KeyState[] = [];
  /** The numbers of keys and buckets whose rows have been read. */
  #loadedKeys = 0;
  #loadedBuckets = 0;
  readonly #rows: RowChange[] = [];
  documents: number;
  /** The number of bytes of the largest value that a document's row may have. */
  largest: number;
  /** The sum modulo 2^32 of the checksums of all versions written so far. */
  written = 0;
  evicts = false;
  /** Receives the versions that are written, in order. Each transaction sets an array of its own, if they are wanted. */
  versions: WrittenVersion[] | undefined;
  /** Returns whether the present documents of a bucket are needed, and not only their revisions and lengths. */
  readonly #needsDocuments: (bucket: string) => boolean;
  /** The last transaction whose versions may contain documents that would now have rows of their own. */
  readonly #inPlace: TxId;

  constructor(before: IndexState, reader: KvReader) {
    const { documents, largest, inPlace = 0 } = before;
    this.#inPlace = inPlace;
    this.#needsDocuments = needsDocuments(before);
    this.reader = reader;
    this.documents = documents;
    this.largest = largest;
  }

  /**
   * Collects the keys of operations for {@link load}. Returns them in the order of the operations, with undefined for
   * operations without a key.
   */
  collect(ops: readonly LoggedOperation[]): (KeyState | undefined)[] {
    return ops.map(({ bucket, key }) => (bucket === "" ? undefined : this.collectKey(bucket, key)));
  }

  collectKey(bucketName: string, key: string): KeyState {
    const bucket = this.collectBucket(bucketName);
    let state = bucket.keys.get(key);
    if (state === undefined) {
      state = emptyKeyState(bucket, documentRowKey(bucketName, key));
      bucket.keys.set(key, state);
      this.all.push(state);
    }
    return state;
  }

  /** Collects a bucket, whose counters {@link load} reads. */
  collectBucket(name: string): BucketState {
    return madeOnce(this.#buckets, name, () => ({ ...NO_COUNTERS, name, keys: new Map<string, KeyState>() }));
  }

  superseded(isMeant: (bucket: string) => boolean): number {
    let count = 0;
    for (const { name, superseded } of this.#buckets.values()) if (isMeant(name)) count += superseded;
    return count;
  }

  /** Records that versions of `bucket` superseded up to `revision` were removed. */
  raiseFloor(bucket: BucketState, revision: TxId): void {
    if (revision <= bucket.floor) return;
    bucket.floor = revision;
    bucket.changed = true;
  }

  /** Records that keys of `bucket` were removed by transaction `txId` together with their history. */
  removedAt(bucket: BucketState, txId: TxId): void {
    bucket.floor = txId;
    bucket.gone = txId;
    bucket.changed = true;
  }

  /** Removes the key's document or tombstone. The rows of its older versions must be removed as well. */
  drop(key: KeyState): void {
    if (key.document !== undefined) {
      key.bucket.documents -= 1;
      this.documents -= 1;
    } else if (key.tombstone === undefined) return;
    else key.bucket.tombstones -= 1;
    key.document = undefined;
    key.tombstone = undefined;
    touch(key);
  }

  /** The key must have no older versions. Returns the tombstone's revision; 0 if there is none. */
  dropTombstone(key: KeyState): TxId {
    if (key.tombstone === undefined) return 0;
    const revision = versionValueRevision(key.tombstone);
    key.bucket.gone = Math.max(key.bucket.gone, revision);
    key.bucket.tombstones -= 1;
    key.tombstone = undefined;
    touch(key);
    return revision;
  }

  /**
   * Reads the keys and buckets that were collected since the last call. Unless documents are large, this takes two
   * reads for any number of keys. Stops if the first `of` collected keys have documents of more than `most` bytes
   * together. Returns the number of keys whose documents were within that limit.
   */
  async load({ most, of }: { most: number; of: number } = NO_LIMIT): Promise<number> {
    const buckets = [...this.#buckets.values()].slice(this.#loadedBuckets);
    this.#loadedBuckets = this.#buckets.size;
    const perRead = keysPerRead(this.largest);
    let unread: readonly BucketState[] = buckets;
    let bytes = 0;
    while (this.#loadedKeys < this.all.length || unread.length > 0) {
      const keys = this.all.slice(this.#loadedKeys, this.#loadedKeys + perRead);
      await this.#read(keys, unread);
      unread = [];
      for (const { document } of keys) {
        bytes += this.#loadedKeys < of && document !== undefined ? headLength(document) : 0;
        if (bytes > most) return this.#loadedKeys;
        this.#loadedKeys += 1;
      }
    }
    return this.#loadedKeys;
  }

  async #read(keys: readonly KeyState[], buckets: readonly BucketState[]): Promise<void> {
    const counters = buckets.map(({ name }) => counterRowKey(name));
    const rowKeys = [...keys.map(({ rowKey }) => rowKey), ...counters];
    const isWhole = keys.some(({ bucket }) => this.#needsDocuments(bucket.name));
    const values = await readRows(isWhole ? this.reader : headsOf(this.reader), rowKeys);
    for (const [index, key] of keys.entries()) {
      key.document = checkedHead(key.rowKey, values[index]);
      key.before = key.document;
      key.isLoaded = true;
    }
    for (const [index, bucket] of buckets.entries()) {
      const value = values[keys.length + index];
      const row = counters[index];
      if (row !== undefined && value !== undefined) Object.assign(bucket, decodeCounters(row, value));
    }
    await loadTombstones(keys, this.reader);
  }

  /** Makes `document` the key's current version. The previous version becomes history. */
  put(key: KeyState, txId: TxId, time: number, document: Uint8Array): void {
    if (key.document === undefined) {
      key.bucket.documents += 1;
      this.documents += 1;
      if (key.tombstone !== undefined) key.bucket.tombstones -= 1;
    }
    this.#supersede(key);
    key.document = encodeVersion(key.rowKey, txId, time, document);
    this.largest = Math.max(this.largest, key.document.length);
    key.written = document;
    key.tombstone = undefined;
    this.#wrote(key, key.document);
  }

  delete(key: KeyState, txId: TxId, time: number): void {
    if (key.document === undefined) return;
    key.bucket.documents -= 1;
    key.bucket.tombstones += 1;
    this.documents -= 1;
    this.#supersede(key);
    key.document = undefined;
    key.tombstone = encodeVersion(key.rowKey, txId, time, undefined);
    this.#wrote(key, key.tombstone);
  }

  /**
   * Removes the key. Its older versions must be removed after the batch, which is therefore a separate one. An eviction
   * of a key that the index does not have is recorded as well: a bound or the removal of a shard may have removed it,
   * and then its bytes may still be in files, the log and checkpoints.
   */
  evict(key: KeyState, txId: TxId, time: number): void {
    if (key.evicted === txId) return;
    this.drop(key);
    key.evicted = txId;
    this.evicts = true;
    const eviction = evictionRowKey(txId, key.rowKey);
    this.#rows.push({ type: "put", key: eviction, value: encodeNumber(eviction, time) });
  }

  rows(): RowChange[] {
    for (const key of this.all) if (key.changed) this.#writeKey(key);
    for (const bucket of this.#buckets.values()) {
      if (!bucket.changed) continue;
      const key = counterRowKey(bucket.name);
      this.#rows.push({ type: "put", key, value: encodeCounters(key, bucket) });
    }
    return this.#rows;
  }

  #wrote(key: KeyState, version: VersionValue): void {
    this.written = (this.written + storedSum(version)) >>> 0;
    this.versions?.push({ rowKey: key.rowKey, version });
    touch(key);
  }

  #writeKey(key: KeyState): void {
    const { before, document, rowKey } = key;
    if (document !== undefined) {
      this.#pushVersion(rowKey, document, document === before);
    } else if (before !== undefined) this.#rows.push({ type: "del", key: rowKey });
    if (before !== undefined && before !== document && !key.isKept) this.#removeContent(key, before);
    if (key.tombstone !== undefined) {
      this.#rows.push({ type: "put", key: asKind(key.rowKey, ROW.tombstone), value: key.tombstone });
    } else if (key.storedTombstone) {
      this.#rows.push({ type: "del", key: asKind(key.rowKey, ROW.tombstone) });
    }
  }

  /** Removes the document of a version that no row has any more. */
  #removeContent({ rowKey, evicted }: KeyState, version: VersionValue | VersionHead): void {
    if (!hasContentRow(version)) return;
    this.#rows.push({ type: "del", key: contentRowKey(rowKey, versionValueRevision(version)) });
    if (evicted !== undefined) this.#rows.push(erasureOf(evicted, rowKey, version));
  }

  #supersede(key: KeyState): void {
    const { bucket, rowKey, document, tombstone } = key;
    const value = document ?? tombstone;
    if (value === undefined) return;
    bucket.superseded += 1;
    key.isKept ||= value === key.before;
    this.#pushVersion(versionRowKey(rowKey, versionValueRevision(value)), value, value === key.before);
  }

  #pushVersion(key: Buffer, value: VersionValue | VersionHead, wasRead: boolean): void {
    const change = { type: "put", key, value } as const;
    const isStored = wasRead && versionValueRevision(value) > this.#inPlace;
    this.#rows.push(isStored ? { ...change, isStored } : change);
  }
}

/** Indexed fields and expiry look at present documents, and a queue moves them. */
function needsDocuments(before: IndexState): (bucket: string) => boolean {
  if (before.policies === undefined) return () => false;
  const { indexed, expire } = activePolicies(before);
  const { queues = {} } = before.policies.value;
  return (bucket) => indexed.has(bucket) || expire.has(bucket) || Object.hasOwn(queues, bucket);
}

const NO_COUNTERS = { superseded: 0, documents: 0, tombstones: 0, floor: 0, gone: 0, changed: false };
const NO_LIMIT = { most: Infinity, of: 0 };

/** Reads tombstones, but only in buckets that have any. Most loads need no second read. */
async function loadTombstones(keys: readonly KeyState[], reader: KvReader): Promise<void> {
  const absent = keys.filter((key) => key.before === undefined && key.bucket.tombstones > 0);
  if (absent.length === 0) return;
  const rowKeys = absent.map(({ rowKey }) => asKind(rowKey, ROW.tombstone));
  const values = await readRows(reader, rowKeys);
  for (const [index, key] of absent.entries()) {
    key.tombstone = checkedVersion(rowKeys[index] ?? key.rowKey, values[index]);
    key.storedTombstone = key.tombstone !== undefined;
  }
}

function touch(key: KeyState): void {
  key.changed = true;
  key.bucket.changed = true;
}

function emptyKeyState(bucket: BucketState, rowKey: Buffer): KeyState {
  return {
    bucket,
    rowKey,
    document: undefined,
    tombstone: undefined,
    before: undefined,
    written: undefined,
    ahead: undefined,
    storedTombstone: false,
    isKept: false,
    evicted: undefined,
    isLoaded: false,
    changed: false,
  };
}
