import { CairnError, type KvReader } from "@cairn/kv";
import type { EventRecord, TxId } from "@cairn/client";
import { activePolicies, oldestEventTime } from "../policies/active-policies.ts";
import type { IndexState } from "../rows/index-state.ts";
import { type EventSelection, eventsCursor } from "./cursor.ts";
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

interface EventQuery extends EventSelection {
  readonly limit: number;
  readonly cursor?: string | undefined;
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
  /** The cursor of the next page, if there may be more events. */
  readonly cursor?: string;
}

function parseEventPlace(text: string): EventPlace {
  const match = /^(\d{1,19})(?:-(\d{1,16})-(\d{1,9}))?$/.exec(text);
  if (match === null) {
    throw new CairnError(
      "REQUEST_INVALID",
      `${JSON.stringify(text)} is neither the id of an event nor a time in nanoseconds.`,
      "Use the id of the last returned event (cairn events --json prints it), or the unchanged URL in the Link header.",
    );
  }
  const [, time = "", txId = "0", place = "0"] = match;
  return { time: BigInt(time), txId: Number(txId), place: Number(place) };
}

/** Reads recorded events. Events beyond the bounds that are still in the index are omitted. */
export async function readEvents(reader: KvReader, state: IndexState, query: EventQuery): Promise<EventPage> {
  const { limit, bucket, object, cursor } = query;
  const { after = query.before } = (await eventsCursor.resume(reader, query, cursor)) ?? {};
  const before = after === undefined ? undefined : parseEventPlace(after);
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
        return { txId: state.txId, events, cursor: eventsCursor.encode(query, state, last.id) };
      const { txId, place } = eventRowOrigin(key);
      const time = String(eventRowTime(key));
      bytes += value.length;
      events.push({ id: `${time}-${txId}-${place}`, txId, ...event, time });
    }
  }
  return { txId: state.txId, events };
}
