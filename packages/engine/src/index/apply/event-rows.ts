import type { KvOperation, KvReader, KvRow } from "@cairn/kv";
import type { EventRecord, TxId } from "@cairn/client";
import { oldestEventTime, type Bound } from "../policies/active-policies.ts";
import { milliseconds, nanoseconds } from "@cairn/text";
import { eventRowKey, eventRowTime, ROW, rowsOfKind } from "../rows/row-keys.ts";
import { NO_BYTES, sealed, unsealed } from "../rows/row-checksum.ts";
import { RowQueue } from "./row-queue.ts";

/**
 * The maximum number of events that a transaction removes beyond the number that it records. It is part of the index
 * version.
 */
const MAX_EXTRA_REMOVALS = 100;

/** The events that a batch records, and the oldest events, which it may remove. */
export class EventRows {
  readonly #bound: Bound;
  readonly #queue: RowQueue;
  count: number;
  /** The time before which there are no events. See {@link IndexState}. */
  from: number;

  private constructor(bound: Bound, stored: readonly KvRow[], { count, from }: StoredEvents) {
    this.#bound = bound;
    this.#queue = new RowQueue(stored);
    this.count = count;
    this.from = from;
  }

  /**
   * Reads the events that may be removed up to `time` while `recorded` new events arrive in `transactions`
   * transactions.
   */
  static async load(
    bound: Bound,
    reader: KvReader,
    { count, from }: StoredEvents,
    batch: { readonly time: number; readonly recorded: number; readonly transactions: number },
  ): Promise<EventRows> {
    const oldest = oldestEventTime(bound, batch.time);
    const most = batch.recorded + batch.transactions * MAX_EXTRA_REMOVALS;
    const stored: KvRow[] = [];
    for await (const rows of reader.range({
      gte: eventRowKey(nanoseconds(from), 0, 0),
      lt: EVENTS_END,
      limit: most,
    })) {
      const [last] = rows.at(-1) ?? [];
      for (const [key, value] of rows) {
        unsealed(key, value);
        // Only the keys are kept, because a batch may remove many events.
        stored.push([key, NO_BYTES]);
      }
      // The remaining events are newer, and are removed only if there are still too many.
      if (last === undefined || eventRowTime(last) < oldest) continue;
      if (count + batch.recorded - stored.length <= bound.keep) break;
    }
    return new EventRows(bound, stored, { count, from });
  }

  /** Records the events of a transaction, and then removes events beyond the bounds. */
  record(txId: TxId, time: number, events: readonly Uint8Array[]): void {
    const keys: Uint8Array[] = [];
    for (const [place, json] of events.entries()) {
      const event = JSON.parse(Buffer.from(json).toString("utf8")) as EventRecord;
      const at = event.time === undefined ? nanoseconds(time) : BigInt(event.time);
      const key = eventRowKey(at, txId, place);
      this.#queue.add(key, sealed(key, json));
      keys.push(key);
    }
    this.count += events.length;
    const last = this.#remove(time, events.length + MAX_EXTRA_REMOVALS);
    if (last !== undefined) this.from = Math.max(this.from, milliseconds(eventRowTime(last)));
    for (const key of keys) {
      // A new event may be older than events that have been removed.
      if (last === undefined || Buffer.compare(key, last) > 0)
        this.from = Math.min(this.from, milliseconds(eventRowTime(key)));
    }
  }

  /** Removes the oldest events that are beyond the bounds, at most `most` of them. Returns the key of the last one. */
  #remove(time: number, most: number): Uint8Array | undefined {
    const oldest = oldestEventTime(this.#bound, time);
    let last: Uint8Array | undefined;
    for (let removed = 0; removed < most; removed += 1) {
      const row = this.#queue.peek();
      if (row === undefined) return last;
      if (this.count <= this.#bound.keep && eventRowTime(row[0]) >= oldest) return last;
      this.#queue.shift();
      this.count -= 1;
      [last] = row;
    }
    return last;
  }

  rows(): Iterable<KvOperation> {
    return this.#queue.rows();
  }
}

/** The number of events in an index, and the time before which there are none (ms since 1970). */
interface StoredEvents {
  readonly count: number;
  readonly from: number;
}

const EVENTS_END = rowsOfKind(ROW.event).lt;
