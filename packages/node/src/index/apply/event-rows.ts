import type { KvOperation, KvReader, KvRow } from "@cairn/kv";
import type { EventRecord, TxId } from "@cairn/client";
import { oldestEventTime } from "../policies/active-policies.ts";
import type { Bound } from "../policies/active-policies.ts";
import { ROW, rowsOfKind, eventRowKey, eventRowTime, nanoseconds } from "../rows/row-keys.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { RowQueue } from "./row-queue.ts";

/** The most events that a transaction removes in excess of those it records. Part of the index version. */
const MAX_EXTRA_REMOVALS = 100;

/** The events that a batch records, and the oldest events, which it removes. */
export class EventRows {
  readonly #bound: Bound;
  readonly #queue: RowQueue;
  #count: number;

  private constructor(bound: Bound, stored: readonly KvRow[], count: number) {
    this.#bound = bound;
    this.#queue = new RowQueue(stored);
    this.#count = count;
  }

  /** Reads the events that may be removed up to `time` while `recorded` events arrive in `transactions`; the index has `count` events. */
  static async load(
    bound: Bound,
    reader: KvReader,
    count: number,
    batch: { readonly time: number; readonly recorded: number; readonly transactions: number },
  ): Promise<EventRows> {
    const oldest = oldestEventTime(bound, batch.time);
    const most = batch.recorded + batch.transactions * MAX_EXTRA_REMOVALS;
    const stored: KvRow[] = [];
    for await (const rows of reader.range({ ...rowsOfKind(ROW.event), limit: most })) {
      const [last] = rows.at(-1) ?? [];
      for (const [key, value] of rows) {
        unsealed(key, value);
        // Keeps only the keys: a batch may remove many events.
        stored.push([key, EMPTY]);
      }
      // The remaining events are younger and are removed only if there are still too many.
      if (last === undefined || eventRowTime(last) < oldest) continue;
      if (count + batch.recorded - stored.length <= bound.keep) break;
    }
    return new EventRows(bound, stored, count);
  }

  get count(): number {
    return this.#count;
  }

  /** Records the events of a transaction, then removes events beyond the bounds. */
  record(txId: TxId, time: number, events: readonly Uint8Array[]): void {
    for (const [place, json] of events.entries()) {
      const key = eventRowKey(eventTime(json, time), txId, place);
      this.#queue.add(key, sealed(key, json));
    }
    this.#count += events.length;
    const oldest = oldestEventTime(this.#bound, time);
    for (let removed = 0; removed < events.length + MAX_EXTRA_REMOVALS; removed += 1) {
      const row = this.#queue.peek();
      if (row === undefined) return;
      if (this.#count <= this.#bound.keep && eventRowTime(row[0]) >= oldest) return;
      this.#queue.shift();
      this.#count -= 1;
    }
  }

  rows(): Iterable<KvOperation> {
    return this.#queue.rows();
  }
}

const EMPTY = new Uint8Array(0);

function eventTime(json: Uint8Array, time: number): bigint {
  const event = JSON.parse(Buffer.from(json).toString("utf8")) as EventRecord;
  return event.time === undefined ? nanoseconds(time) : BigInt(event.time);
}
