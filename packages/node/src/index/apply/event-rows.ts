import type { KvOperation, KvReader, KvRow } from "@cairn/kv";
import type { EventRecord, TxId } from "@cairn/client";
import { oldestEventTime } from "../policies/active-policies.ts";
import type { Bound } from "../policies/active-policies.ts";
import { ROW, rowsOfKind, eventRowKey, eventRowTime, nanoseconds } from "../rows/row-keys.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { RowQueue } from "./row-queue.ts";

/** How many more events than it records a transaction removes, at most. A part of the index version. */
const PRUNED_BESIDES = 100;

/** The events that a batch records, and the oldest ones, which go as others come. */
export class EventRows {
  readonly #bound: Bound;
  readonly #queue: RowQueue;
  #count: number;

  private constructor(bound: Bound, stored: readonly KvRow[], count: number) {
    this.#bound = bound;
    this.#queue = new RowQueue(stored);
    this.#count = count;
  }

  /** Reads the events that may go while `recorded` come in `transactions`, until `time`; `count` are there. */
  static async load(
    bound: Bound,
    reader: KvReader,
    count: number,
    batch: { readonly time: number; readonly recorded: number; readonly transactions: number },
  ): Promise<EventRows> {
    const oldest = oldestEventTime(bound, batch.time);
    const most = batch.recorded + batch.transactions * PRUNED_BESIDES;
    const stored: KvRow[] = [];
    for await (const rows of reader.range({ ...rowsOfKind(ROW.event), limit: most })) {
      const [last] = rows.at(-1) ?? [];
      for (const [key, value] of rows) {
        unsealed(key, value);
        // Only the keys: a batch may remove many.
        stored.push([key, EMPTY]);
      }
      // What follows is younger; it goes only if there are still too many.
      if (last === undefined || eventRowTime(last) < oldest) continue;
      if (count + batch.recorded - stored.length <= bound.keep) break;
    }
    return new EventRows(bound, stored, count);
  }

  get count(): number {
    return this.#count;
  }

  /** Records the events of a transaction, then removes what is beyond the bounds. */
  record(txId: TxId, time: number, events: readonly Uint8Array[]): void {
    for (const [place, json] of events.entries()) {
      const key = eventRowKey(eventTime(json, time), txId, place);
      this.#queue.add(key, sealed(key, json));
    }
    this.#count += events.length;
    const oldest = oldestEventTime(this.#bound, time);
    for (let removed = 0; removed < events.length + PRUNED_BESIDES; removed += 1) {
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
