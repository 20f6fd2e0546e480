import type { KvRow } from "@cairn/kv";
import type { IndexState } from "../rows/index-state.ts";
import { decodePlace, decodeShard, openRowShard, shardNumber } from "../rows/queue-rows.ts";
import { asBuffer, parseDocumentRowKey, partEnd, ROW } from "../rows/row-keys.ts";

interface ShardCount {
  documents: number;
  places: number;
  open: number;
}

/** Counts the rows of queues by shard. Their other rows precede those of the shards, with which they are compared. */
export class ShardCounts {
  readonly #queues: ReadonlySet<string>;
  readonly #counts = new Map<string, ShardCount>();

  constructor({ policies }: IndexState) {
    this.#queues = new Set(Object.keys(policies?.value.queues ?? {}));
  }

  /** Counts an intact row, or compares it with the counts. Returns its problem; undefined if it has none. */
  judge(...[key, value]: KvRow): string | undefined {
    if (this.#queues.size === 0) return undefined;
    switch (key[0]) {
      case ROW.document: {
        const { bucket, namespace } = parseDocumentRowKey(key);
        if (this.#queues.has(bucket)) this.#countOf(bucket, namespace).documents += 1;
        return undefined;
      }
      case ROW.openEntry:
        this.#countOf(queueOf(key), openRowShard(key)).open += 1;
        return undefined;
      case ROW.place:
        this.#countOf(queueOf(key), decodePlace(key, value).shard).places += 1;
        return undefined;
      case ROW.shard:
        return this.#judgeShard(key, value);
      default:
        return undefined;
    }
  }

  /** Returns the shards that have entries, but no row. */
  uncounted(): Iterable<string> {
    return this.#counts.keys();
  }

  #judgeShard(key: Uint8Array, value: Uint8Array): string | undefined {
    const name = `${queueOf(key)}/${shardNumber(key)}`;
    const { documents, places, open } = this.#counts.get(name) ?? { documents: 0, places: 0, open: 0 };
    this.#counts.delete(name);
    const shard = decodeShard(key, value);
    if (shard.entries === documents && places === documents && shard.open === open) return undefined;
    return `it counts ${shard.entries} entries and ${shard.open} open ones, but there are ${documents} documents, ${places} places and ${open} open entries`;
  }

  #countOf(queue: string, shard: string | number): ShardCount {
    const name = `${queue}/${shard}`;
    let count = this.#counts.get(name);
    if (count === undefined) this.#counts.set(name, (count = { documents: 0, places: 0, open: 0 }));
    return count;
  }
}

/** Returns the queue in the key of a row of a queue. */
function queueOf(key: Uint8Array): string {
  const bytes = asBuffer(key);
  return bytes.toString("utf8", 1, partEnd(bytes, 1));
}
