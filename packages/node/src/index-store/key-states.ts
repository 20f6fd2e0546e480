import type { KvOperation, KvReader } from "@cairn/kv";
import type { LoggedTransaction } from "../tx-log/transaction-codec.ts";
import type { TxId } from "../tx-log/transaction.ts";
import {
  asKind,
  counterBucket,
  counterRowKey,
  documentRowKey,
  evictionRowKey,
  prefixEnd,
  ROW,
  versionRowKey,
} from "./row-keys.ts";
import { decodeCounters, encodeCounters, encodeVersion, versionValueRevision } from "./row-values.ts";

/** What the index holds of one key while a batch is applied: its rows' values, as read and as they will be. */
export interface KeyState {
  readonly bucket: string;
  readonly rowKey: Buffer;
  document: Uint8Array | undefined;
  tombstone: Uint8Array | undefined;
  /** Whether the store has the row now, so that a row never written need not be removed. */
  storedDocument: boolean;
  storedTombstone: boolean;
  changed: boolean;
}

interface Counters {
  documents: number;
  tombstones: number;
  changed: boolean;
}

/**
 * The rows of the keys that a batch of transactions touches: read from the store in one go, changed in memory, written as one list
 * of operations. Reads within the batch see what earlier transactions of the batch did.
 */
export class KeyStates {
  readonly #keys = new Map<string, KeyState>();
  readonly #counters = new Map<string, Counters>();
  readonly #rows: KvOperation[] = [];
  #documents: number;

  constructor(documents: number) {
    this.#documents = documents;
  }

  /** Current documents of all buckets. */
  get documents(): number {
    return this.#documents;
  }

  /** Reads what the transactions touch. Two reads at most, whatever their number. */
  async load(transactions: readonly LoggedTransaction[], reader: KvReader): Promise<void> {
    for (const { ops } of transactions) {
      for (const { bucket, namespace, name } of ops) {
        const id = mapKey(bucket, namespace, name);
        if (this.#keys.has(id)) continue;
        this.#keys.set(id, emptyKeyState(bucket, documentRowKey({ bucket, namespace, name })));
        this.#counters.set(bucket, { documents: 0, tombstones: 0, changed: false });
      }
    }
    const keys = [...this.#keys.values()];
    const buckets = [...this.#counters.keys()];
    const values = await reader.getMany([...keys.map((key) => key.rowKey), ...buckets.map(counterRowKey)]);
    for (const [index, key] of keys.entries()) {
      key.document = values[index];
      key.storedDocument = key.document !== undefined;
    }
    for (const [index, bucket] of buckets.entries()) {
      const value = values[keys.length + index];
      if (value !== undefined) Object.assign(this.#counter(bucket), decodeCounters(value));
    }
    await this.#loadTombstones(keys, reader);
  }

  /** A key without a document has a tombstone only where its bucket has any: most loads need no second read. */
  async #loadTombstones(keys: readonly KeyState[], reader: KvReader): Promise<void> {
    const absent = keys.filter((key) => !key.storedDocument && this.#counter(key.bucket).tombstones > 0);
    if (absent.length === 0) return;
    const values = await reader.getMany(absent.map((key) => asKind(key.rowKey, ROW.tombstone)));
    for (const [index, key] of absent.entries()) {
      key.tombstone = values[index];
      key.storedTombstone = key.tombstone !== undefined;
    }
  }

  /** The state of a key that {@link load} was given. */
  get(bucket: string, namespace: string, name: string): KeyState {
    const key = this.#keys.get(mapKey(bucket, namespace, name));
    if (key === undefined) throw new Error("a transaction names a key that was not loaded");
    return key;
  }

  /** Makes `document` the key's current version; the one before becomes history. */
  put(key: KeyState, txId: TxId, time: number, document: Uint8Array): void {
    const counter = this.#counter(key.bucket);
    if (key.document === undefined) {
      counter.documents += 1;
      this.#documents += 1;
    }
    if (key.tombstone !== undefined) counter.tombstones -= 1;
    this.#supersede(key, key.document ?? key.tombstone);
    key.document = encodeVersion(txId, time, document);
    key.tombstone = undefined;
    this.#touch(key, counter);
  }

  /** Deletes the key's document; nothing happens when it has none. */
  delete(key: KeyState, txId: TxId, time: number): void {
    if (key.document === undefined) return;
    const counter = this.#counter(key.bucket);
    counter.documents -= 1;
    counter.tombstones += 1;
    this.#documents -= 1;
    this.#supersede(key, key.document);
    key.document = undefined;
    key.tombstone = encodeVersion(txId, time, undefined);
    this.#touch(key, counter);
  }

  /** Removes the key with its history. `reader` must show the history: evictions begin a batch of their own. */
  async evict(key: KeyState, txId: TxId, reader: KvReader): Promise<void> {
    if (key.document === undefined && key.tombstone === undefined) return;
    const counter = this.#counter(key.bucket);
    if (key.document === undefined) {
      counter.tombstones -= 1;
    } else {
      counter.documents -= 1;
      this.#documents -= 1;
    }
    const versions = asKind(key.rowKey, ROW.version);
    for await (const rows of reader.range({ gte: versions, lt: prefixEnd(versions) })) {
      for (const [versionKey] of rows) this.#rows.push({ type: "del", key: versionKey });
    }
    this.#rows.push({ type: "put", key: evictionRowKey(txId, key.rowKey), value: EMPTY });
    key.document = undefined;
    key.tombstone = undefined;
    this.#touch(key, counter);
  }

  /** Everything that changed, as operations of one batch. */
  rows(): KvOperation[] {
    for (const key of this.#keys.values()) if (key.changed) this.#writeKey(key);
    for (const [bucket, counter] of this.#counters) {
      if (counter.changed) {
        this.#rows.push({ type: "put", key: counterRowKey(bucket), value: encodeCounters(counter) });
      }
    }
    return this.#rows;
  }

  #writeKey(key: KeyState): void {
    if (key.document !== undefined) {
      this.#rows.push({ type: "put", key: key.rowKey, value: key.document });
    } else if (key.storedDocument) {
      this.#rows.push({ type: "del", key: key.rowKey });
    }
    if (key.tombstone !== undefined) {
      this.#rows.push({ type: "put", key: asKind(key.rowKey, ROW.tombstone), value: key.tombstone });
    } else if (key.storedTombstone) {
      this.#rows.push({ type: "del", key: asKind(key.rowKey, ROW.tombstone) });
    }
  }

  #supersede(key: KeyState, value: Uint8Array | undefined): void {
    if (value === undefined) return;
    const row = versionRowKey(key.rowKey, versionValueRevision(value));
    this.#rows.push({ type: "put", key: row, value });
  }

  #touch(key: KeyState, counter: Counters): void {
    key.changed = true;
    counter.changed = true;
  }

  #counter(bucket: string): Counters {
    const counter = this.#counters.get(bucket);
    if (counter === undefined) throw new Error("a transaction names a bucket that was not loaded");
    return counter;
  }
}

/** The counters of every bucket, by name. */
export async function readBucketCounters(
  reader: KvReader,
): Promise<Map<string, { documents: number; tombstones: number }>> {
  const counters = new Map<string, { documents: number; tombstones: number }>();
  const all = Buffer.from([ROW.counter]);
  for await (const rows of reader.range({ gte: all, lt: prefixEnd(all) })) {
    for (const [key, value] of rows) counters.set(counterBucket(key), decodeCounters(value));
  }
  return counters;
}

const EMPTY = new Uint8Array(0);

function emptyKeyState(bucket: string, rowKey: Buffer): KeyState {
  return {
    bucket,
    rowKey,
    document: undefined,
    tombstone: undefined,
    storedDocument: false,
    storedTombstone: false,
    changed: false,
  };
}

function mapKey(bucket: string, namespace: string, name: string): string {
  // Neither a bucket nor a namespace contains "/".
  return `${bucket}/${namespace}/${name}`;
}
