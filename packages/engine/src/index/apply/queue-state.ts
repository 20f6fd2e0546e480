import type { KvOperation, KvReader } from "@cairn/kv";
import { madeOnce } from "@cairn/text";
import type { KeyState } from "./key-states.ts";
import {
  decodePlace,
  decodeShard,
  encodePlace,
  encodeShard,
  openRowKey,
  type EntryPlace,
  placeRowKey,
  type Shard,
  shardNumber,
  shardRowKey,
  shardRows,
} from "../rows/queue-rows.ts";
import { allRows } from "../rows/row-cursor.ts";
import { sealed } from "../rows/row-checksum.ts";

interface PlaceRow {
  readonly key: Buffer;
  before: EntryPlace | undefined;
  /** The new value; undefined if the batch removes the row. */
  value: Buffer | undefined;
  isChanged: boolean;
}

/** The rows of a queue that a batch needs, as they will be. */
export class QueueState {
  readonly name: string;
  readonly shards = new Map<number, Shard>();
  readonly places = new Map<string, EntryPlace | undefined>();
  /** The entries that the batch may evict, with all of their keys once these are found. */
  readonly evicted = new Map<string, readonly KeyState[]>();
  /** The rows of the shards that the batch changes; undefined for rows that it removes. */
  readonly #shardRows = new Map<number, Buffer | undefined>();
  readonly #placeRows = new Map<string, PlaceRow>();

  constructor(name: string) {
    this.name = name;
  }

  /** Collects the place of an entry, which {@link load} reads unless `before` is given. */
  collectPlace(entry: string, before?: EntryPlace): PlaceRow {
    return madeOnce(this.#placeRows, entry, () => {
      return { key: placeRowKey(this.name, entry), before, value: undefined, isChanged: false };
    });
  }

  async load(reader: KvReader, known: ReadonlyMap<number, Shard> | undefined): Promise<void> {
    if (known !== undefined) for (const [number, shard] of known) this.shards.set(number, shard);
    else {
      for (const [key, value] of await allRows(reader, shardRows(this.name)))
        this.shards.set(shardNumber(key), decodeShard(key, value));
    }
    const rows = [...this.#placeRows];
    const values = rows.length === 0 ? [] : await reader.getMany(rows.map(([, { key }]) => key));
    for (const [at, [entry, row]] of rows.entries()) {
      const value = values[at];
      row.before = value === undefined ? undefined : decodePlace(row.key, value);
      this.places.set(entry, row.before);
    }
  }

  setShard(number: number, shard: Shard | undefined): void {
    const key = shardRowKey(this.name, number);
    const row = shard && encodeShard(key, shard);
    if (shard === undefined) this.shards.delete(number);
    else this.shards.set(number, shard);
    this.#shardRows.set(number, row);
  }

  setPlace(entry: string, place: EntryPlace | undefined): void {
    const row = this.collectPlace(entry);
    row.value = place && encodePlace(row.key, place);
    row.isChanged = true;
    this.places.set(entry, place);
  }

  *rows(): Generator<KvOperation> {
    for (const [number, value] of this.#shardRows) yield change(shardRowKey(this.name, number), value);
    for (const [entry, { key: placeKey, before, value, isChanged }] of this.#placeRows) {
      if (!isChanged) continue;
      const after = this.places.get(entry);
      if (before !== undefined || value !== undefined) yield change(placeKey, value);
      // If the entry stays where it is, its row is removed and written again, in this order.
      if (before?.isOpen === true) yield { type: "del", key: openRowKey(this.name, before) };
      if (after?.isOpen !== true) continue;
      const key = openRowKey(this.name, after);
      yield { type: "put", key, value: sealed(key, Buffer.from(entry, "utf8")) };
    }
  }
}

function change(key: Uint8Array, value: Uint8Array | undefined): KvOperation {
  return value === undefined ? { type: "del", key } : { type: "put", key, value };
}
