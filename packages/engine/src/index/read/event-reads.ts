import type { KvReader } from "@cairn/kv";
import type { EventRecord, TxId } from "@cairn/client";
import { activePolicies, oldestEventTime } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import { MAX_PAGE_BYTES } from "./document-reads.ts";
import { ROW, rowsOfKind, eventRowKey, eventRowOrigin, eventRowTime } from "../rows/row-keys.ts";
import { unsealedJson } from "../rows/row-checksum.ts";

/** A recorded event. `time` is in nanoseconds since 1970, as a string. */
export interface RecordedEvent extends EventRecord {
  /** The id of the event, which can be used in `before`, for example. */
  readonly id: string;
  readonly txId: TxId;
  readonly time: string;
}

export interface EventQuery {
  readonly limit: number;
  readonly bucket?: string | undefined;
  readonly object?: string | undefined;
  readonly before?: EventPlace | undefined;
}

/** Events are ordered by time, then by the transaction that recorded them and their position in it. */
interface EventPlace {
  readonly time: bigint;
  readonly txId: TxId;
  readonly place: number;
}

/** A page of recorded events, newest first. */
export interface EventPage {
  readonly txId: TxId;
  readonly events: readonly RecordedEvent[];
  /** The value of `before` for the next page, if there may be more events. */
  readonly before?: string;
}

/** Parses an event's id, or a time in nanoseconds; returns undefined if `text` is neither. */
export function parseEventPlace(text: string): EventPlace | undefined {
  const match = /^(\d{1,19})(?:-(\d{1,16})-(\d{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  const [, time = "", txId = "0", place = "0"] = match;
  return { time: BigInt(time), txId: Number(txId), place: Number(place) };
}

/** Reads recorded events. Events beyond the bounds that are still in the index are omitted. */
export async function readEvents(
  reader: KvReader,
  state: IndexState,
  { limit, bucket, object, before }: EventQuery,
): Promise<EventPage> {
  const bound = activePolicies(state).events;
  const { lt } = rowsOfKind(ROW.event);
  const range = {
    gte: eventRowKey(oldestEventTime(bound, state.time), 0, 0),
    lt: before === undefined ? lt : eventRowKey(before.time, before.txId, before.place),
    reverse: true,
    // Without a filter, a page of rows is enough.
    ...(bucket === undefined && object === undefined ? { limit: limit + 1 } : {}),
  };
  const events: RecordedEvent[] = [];
  let bytes = 0;
  for await (const rows of reader.range(range)) {
    for (const [key, value] of rows) {
      const event = unsealedJson<EventRecord>(key, value);
      if (bucket !== undefined && event.bucket !== bucket) continue;
      if (object !== undefined && event.object !== object) continue;
      const last = events.at(-1);
      if (last !== undefined && (events.length === limit || bytes >= MAX_PAGE_BYTES))
        return { txId: state.txId, events, before: last.id };
      const { txId, place } = eventRowOrigin(key);
      const time = String(eventRowTime(key));
      bytes += value.length;
      events.push({ id: `${time}-${txId}-${place}`, txId, ...event, time });
    }
  }
  return { txId: state.txId, events };
}
