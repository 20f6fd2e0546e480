import type { KvReader } from "@cairn/kv";
import type { EventRecord, TxId } from "@cairn/client";
import { activePolicies, DEFAULT_EVENT_BOUND, oldestEventTime } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import { ROW, rowsOfKind, eventRowKey, eventRowOrigin, eventRowTime } from "../rows/row-keys.ts";
import { unsealed } from "../rows/row-checksum.ts";

/** An event as it was recorded. `time` is in nanoseconds since 1970, as text. */
export interface RecordedEvent extends EventRecord {
  /** Stands for the event in `before`. */
  readonly id: string;
  readonly txId: TxId;
  readonly time: string;
}

/** Which events, newest first. */
export interface EventQuery {
  readonly limit: number;
  readonly bucket?: string | undefined;
  readonly object?: string | undefined;
  /** Older than this one. */
  readonly before?: EventPlace | undefined;
}

/** Where an event stands among the others: by its time, then by what recorded it. */
export interface EventPlace {
  readonly time: bigint;
  readonly txId: TxId;
  readonly place: number;
}

/** A page of events. */
export interface EventPage {
  readonly txId: TxId;
  readonly events: readonly RecordedEvent[];
  /** There may be more: the `before` of the next page. */
  readonly before?: string;
}

/** An event's id, or a time alone in nanoseconds; undefined when `text` is neither. */
export function parseEventPlace(text: string): EventPlace | undefined {
  const match = /^(\d{1,19})(?:-(\d{1,16})-(\d{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  const [, time = "", txId = "0", place = "0"] = match;
  return { time: BigInt(time), txId: Number(txId), place: Number(place) };
}

/** Recorded events; those that the bounds no longer allow are not told, though they may still lie in the index. */
export async function readEvents(
  reader: KvReader,
  state: IndexState,
  { limit, bucket, object, before }: EventQuery,
): Promise<EventPage> {
  const bound = activePolicies(state)?.events ?? DEFAULT_EVENT_BOUND;
  const { lt } = rowsOfKind(ROW.event);
  const range = {
    gte: eventRowKey(oldestEventTime(bound, state.time), 0, 0),
    lt: before === undefined ? lt : eventRowKey(before.time, before.txId, before.place),
    reverse: true,
    // Of all events the page is asked for alone; of some, as many rows have to be looked at as it takes.
    ...(bucket === undefined && object === undefined ? { limit: limit + 1 } : {}),
  };
  const events: RecordedEvent[] = [];
  for await (const rows of reader.range(range)) {
    for (const [key, value] of rows) {
      const event = JSON.parse(unsealed(key, value).toString("utf8")) as EventRecord;
      if (bucket !== undefined && event.bucket !== bucket) continue;
      if (object !== undefined && event.object !== object) continue;
      const last = events.at(-1);
      if (events.length === limit && last !== undefined) return { txId: state.txId, events, before: last.id };
      const { txId, place } = eventRowOrigin(key);
      const time = String(eventRowTime(key));
      events.push({ id: `${time}-${txId}-${place}`, txId, ...event, time });
    }
  }
  return { txId: state.txId, events };
}
