import { Readable } from "node:stream";
import { CairnError, isCairnError } from "@cairn/kv";
import type { FastifyRequest } from "fastify";
import { type WatchEvent, type WatchQuery } from "../../watch/watch-event.ts";
import { WatchCompactedError } from "../../index/read/watch-compacted.ts";
import { RequestError } from "../answers/request-error.ts";
import { eventStreamText } from "../answers/event-stream.ts";
import { parseQuery, type Query } from "../requests/address.ts";
import { parseTxId, WATCH_PARAMETERS } from "../requests/parameters.ts";
import { disconnectWhenGone, GONE_AFTER_MS } from "../answers/unsent-responses.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** A client that reads none of this many heartbeats, and nothing for a minute, is considered disconnected. */
const GONE_AFTER_HEARTBEATS = 3;

/** The time after which an EventSource reconnects to a node that was not ready. */
const RETRY_MS = 2_000;

/** Registers GET /api/v1/watch, which sends server-sent events, and POST /api/v1/watch/tickets. */
export const watchRoutes: RegisterRoutes = (app, apiFor, { tickets }) => {
  app.post("/api/v1/watch/tickets", (request, reply) => {
    parseQuery(request.url, {});
    return reply.code(201).header("cache-control", "no-store").send(tickets.issue(request.permit));
  });

  app.get("/api/v1/watch", { config: { acceptsTicket: true } }, async (request, reply) => {
    const { ticket: _, ...parameters } = parseQuery(request.url, WATCH_PARAMETERS);
    const query = watchQuery(request, parameters);
    const { socket } = request.raw;
    const closed = new AbortController();
    const stopListening = request.permit.onRevoked(() => closed.abort());
    let body: Readable | undefined;
    const end = (): void => {
      stopListening();
      closed.abort();
      // Otherwise, a watch whose last events were not written would wait forever for that.
      body?.destroy();
    };
    reply.raw.once("close", end);
    if (socket.destroyed) end();
    // An error in the first step is sent as the response. After that, the response is the stream.
    const watched = apiFor(request)
      .watch({ ...query, signal: closed.signal })
      .batches();
    const batches = watched[Symbol.asyncIterator]();
    const first = await batches
      .next()
      .catch((error: unknown) =>
        isCairnError(error, "NOT_READY") && isEventSource(request) ? error : throwWithFloor(error),
      );
    void reply.headers({
      "content-type": "text/event-stream; charset=utf-8",
      // Proxies must neither store nor buffer the stream.
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    if (first instanceof CairnError) return reply.send(`retry: ${RETRY_MS}\n: ${first.message}\n\n`);
    if (request.method === "HEAD" || first.done === true || closed.signal.aborted) {
      closed.abort();
      await batches.return?.();
      return reply.send();
    }
    disconnectWhenGone(reply.raw, Math.max(GONE_AFTER_MS, (query.heartbeatMs ?? 0) * GONE_AFTER_HEARTBEATS));
    body = Readable.from(stream(first.value, batches), { objectMode: false, highWaterMark: 1 });
    return reply.send(body);
  });
};

/** An EventSource (WHATWG HTML, 9.2.3) accepts only event streams. It reconnects when one ends, but not on an error. */
function isEventSource({ headers }: FastifyRequest): boolean {
  return headers.accept === "text/event-stream";
}

async function* stream(
  first: readonly WatchEvent[],
  batches: AsyncIterator<readonly WatchEvent[]>,
): AsyncGenerator<Buffer, void> {
  try {
    yield eventStreamText(first);
    for (;;) {
      const { done, value } = await batches.next();
      if (done === true) return;
      yield eventStreamText(value as readonly WatchEvent[]);
    }
  } finally {
    await batches.return?.();
  }
}

/** A client that reconnects repeats its first URL, and the header Last-Event-ID specifies where to resume. */
function watchQuery(request: FastifyRequest, query: Query<typeof WATCH_PARAMETERS>): WatchQuery {
  const last = request.headers["last-event-id"];
  if (typeof last !== "string" || last === "") return query;
  const from = parseTxId(last, "Last-Event-ID");
  if (from === query.from) return query;
  const { fromTime: _, ...others } = query;
  return { ...others, from };
}

function throwWithFloor(error: unknown): never {
  if (!(error instanceof WatchCompactedError)) throw error;
  const { code, message, floor, reason, hint } = error;
  throw new RequestError(code, message, {
    hint,
    cause: error,
    details: { floor, reason },
  });
}
