import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { CairnError, isCairnError } from "@cairn/kv";
import {
  type FollowEvent,
  type StateChange,
  type WatchChange,
  type WatchEvent,
  type WatchQuery,
  WRITE_BYTES,
  WRITE_TURNS,
} from "@cairn/engine";
import type { HttpAnswer } from "../answers/answer.ts";
import type { Call } from "../permits/call.ts";
import type { Query } from "../requests/address.ts";
import { type Route, route } from "../openapi/route.ts";
import { TEXT } from "../requests/schema-parts.ts";
import { madeOnce, parsePosition, formatPosition } from "@cairn/text";
import { WATCH_PARAMETERS } from "../requests/parameters.ts";
import { disconnectWhenGone, GONE_AFTER_MS } from "../answers/request-memory.ts";

/** A client that reads none of this many heartbeats, and nothing for a minute, is considered disconnected. */
const GONE_AFTER_HEARTBEATS = 3;

/** The time after which an EventSource reconnects to a node that was not ready, or had too many watches. */
const RETRY_MS = 2_000;

const EVENTS = {
  method: "GET",
  right: "read",
  tag: "documents",
  query: WATCH_PARAMETERS,
  requestHeaders: ["Last-Event-ID"],
  answers: [{ status: 200, description: "The stream.", schema: TEXT, mediaType: "text/event-stream" }],
} as const;

export const watchRoutes: readonly Route[] = [
  route({
    ...EVENTS,
    path: "/api/v1/watch",
    concerns: ({ query }) => query.bucket,
    id: "watch",
    summary: "Watch changes as server-sent events: every transaction with changes is sent once and in order.",
    errors: ["NOT_READY", "OVERLOADED", "INDEX_CORRUPT", "WATCH_COMPACTED"],
    handle: (call) => eventStream(call, (query) => call.api.watch(query).batches(), eventStreamText),
  }),
  route({
    ...EVENTS,
    path: "/api/v1/follow",
    concerns: ({ query }) => query.bucket,
    id: "follow",
    summary:
      "Follow documents as server-sent events: all of them, and then the new states of those that change, whatever policies remove.",
    errors: ["NOT_READY", "OVERLOADED"],
    handle: (call) => eventStream(call, (query) => call.api.follow(query), followText),
  }),
];

const EVENT_STREAM: HttpAnswer = {
  type: "text/event-stream; charset=utf-8",
  // Proxies must neither store nor buffer the stream.
  headers: { "cache-control": "no-store, no-transform", "x-accel-buffering": "no" },
};

/** Returns a stream of events as the response. An error in the first step is the response instead. */
async function eventStream<T>(
  { permit, request, response, served, query: given }: Call<Query<typeof WATCH_PARAMETERS>>,
  open: (query: WatchQuery) => AsyncIterable<T>,
  encode: (batch: T) => Buffer,
): Promise<HttpAnswer> {
  const query = resumed(request, given);
  const closed = new AbortController();
  const stopListening = permit.onRevoked(() => closed.abort());
  let body: Readable | undefined;
  const end = (): void => {
    stopListening();
    closed.abort();
    // Otherwise, a watch whose last events were not written would wait forever for that.
    body?.destroy();
  };
  response.once("close", end);
  if (request.socket.destroyed) end();
  const connection = {
    stalledSince: undefined as number | undefined,
    close: () => void request.socket.destroy(),
  };
  const batches = open({ ...query, signal: closed.signal, connection })[Symbol.asyncIterator]();
  // An EventSource (WHATWG HTML, 9.2.3) accepts only event streams. It reconnects when one ends, but not on an error.
  const isEventSource = request.headers.accept === "text/event-stream";
  const begin = async (): Promise<IteratorResult<T>> => {
    served.beginStream(response);
    return await batches.next();
  };
  const first = await begin().catch((error: unknown) => {
    if (isEventSource && isCairnError(error, "NOT_READY", "OVERLOADED")) return error;
    throw error;
  });
  if (first instanceof CairnError)
    return { ...EVENT_STREAM, body: `retry: ${RETRY_MS}\n: ${first.message}\n\n` };
  if (request.method === "HEAD" || first.done === true || closed.signal.aborted) {
    closed.abort();
    await batches.return?.();
    return EVENT_STREAM;
  }
  disconnectWhenGone(response, Math.max(GONE_AFTER_MS, (query.heartbeatMs ?? 0) * GONE_AFTER_HEARTBEATS));
  body = Readable.from(partsOf(encode(first.value), batches, encode, connection), {
    objectMode: false,
    highWaterMark: 1,
  });
  return { ...EVENT_STREAM, body };
}

/**
 * Returns the bytes of a watch, in parts. A connection has a copy of only one at a time, and large batches are paced.
 * This is no generator, because the frame of a suspended one would keep a page that its client has taken.
 */
function partsOf<T>(
  first: Buffer,
  batches: AsyncIterator<T>,
  encode: (batch: T) => Buffer,
  connection: { stalledSince: number | undefined },
): AsyncIterableIterator<Buffer, void> {
  /** Shared by all watchers of these events. */
  let bytes = first;
  let at = 0;
  const readBatch = async (): Promise<boolean> => {
    bytes = NOTHING;
    at = 0;
    const next = await batches.next();
    if (next.done === true) return false;
    bytes = encode(next.value);
    return true;
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    /** Called when the connection has taken the parts before the last one. */
    async next() {
      connection.stalledSince = undefined;
      if (at >= bytes.length && !(await readBatch())) return { done: true, value: undefined };
      const isLarge = bytes.length > WRITE_BYTES;
      if (isLarge) await WRITE_TURNS.take();
      const from = at;
      at += WRITE_BYTES;
      const part = bytes.subarray(from, at);
      connection.stalledSince = performance.now();
      // What the connection and its stream keep must not keep the whole batch.
      return { done: false, value: isLarge ? Buffer.from(part) : part };
    },
    async return() {
      await batches.return?.();
      bytes = NOTHING;
      return { done: true, value: undefined };
    },
  };
}

const NOTHING = Buffer.alloc(0);

/** A client that reconnects repeats its first URL, and the header Last-Event-ID specifies where to resume. */
function resumed(request: IncomingMessage, query: Query<typeof WATCH_PARAMETERS>): WatchQuery {
  const last = request.headers["last-event-id"];
  if (typeof last !== "string" || last === "") return query;
  return { ...query, from: formatPosition(parsePosition(last, "Last-Event-ID")) };
}

/** All watchers of the same changes receive the same array, so its events are encoded only once. */
const encoded = new WeakMap<readonly WatchEvent[], Buffer>();

export function eventStreamText(events: readonly WatchEvent[]): Buffer {
  return madeOnce(encoded, events, () => Buffer.from(events.map(eventText).join(""), "utf8"));
}

/** A client resumes after the last id, so an event after which it must not resume has no id. */
function eventText(event: WatchEvent): string {
  if (event.type === "tx") {
    const { txId, txTime, position, changes } = event;
    const head = `"txId":${txId},"txTime":"${txTime}","position":"${position}"`;
    const data = `{${head},"changes":[${changes.map(changeJson).join(",")}]}`;
    return `id: ${position}\nevent: tx\ndata: ${data}\n\n`;
  }
  const { type, ...data } = event;
  const mayResume = event.type === "cutoff" ? event.reason !== "regressed" : event.ahead !== true;
  return `${mayResume ? `id: ${event.position}\n` : ""}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}

function followText(event: FollowEvent): Buffer {
  if ("type" in event) return Buffer.from(eventText(event));
  const { position, txId, txTime, complete, changes } = event;
  const place = JSON.stringify({ position, txId, txTime, complete }).slice(0, -1);
  const id = position === undefined ? "" : `id: ${position}\n`;
  return Buffer.from(
    `${id}event: states\ndata: ${place},"changes":[${changes.map(changeJson).join(",")}]}\n\n`,
  );
}

/** Built from the stored JSON without parsing it. The result has no line breaks, as messages of the log have none. */
function changeJson(change: WatchChange | StateChange): string {
  if (!("json" in change)) return JSON.stringify(change);
  const { json, ...others } = change;
  return `${JSON.stringify(others).slice(0, -1)},"document":${json}}`;
}
