import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { CairnError, isCairnError } from "@cairn/kv";
import type { FastifyRequest } from "fastify";
import { type WatchEvent, type WatchQuery } from "../../watch/watch-event.ts";
import { WatchCompactedError } from "../../index/read/watch-compacted.ts";
import { badRequest, RequestError } from "../answers/error-response.ts";
import { eventStreamText } from "../answers/event-stream.ts";
import { isoTime, parseQuery, type Query, text, txId, wholeDuration } from "../requests/query.ts";
import type { RegisterRoutes } from "./register-routes.ts";

const WATCH = {
  bucket: text,
  namespace: text,
  from: txId,
  "from-time": isoTime,
  heartbeat: heartbeatInterval,
};

/** A reader who took nothing for so long is gone: heartbeats come more often. */
const GONE_AFTER_MS = 60_000;
const GONE_AFTER_HEARTBEATS = 3;

const SHORTEST_HEARTBEAT_MS = 100;
const LONGEST_HEARTBEAT_MS = 3_600_000;

/** How soon an EventSource asks a node that was not ready again. */
const RETRY_MS = 2_000;

/** GET /api/v1/watch, as server-sent events. */
export const watchRoutes: RegisterRoutes = (app, api) => {
  app.get("/api/v1/watch", async (request, reply) => {
    const query = watchQuery(request, parseQuery(request.url, WATCH));
    const closed = new AbortController();
    reply.raw.once("close", () => closed.abort());
    // Errors of the beginning are answers of their own; after it there is only the stream.
    const watched = api.watch({ ...query, signal: closed.signal }).batches();
    const batches = watched[Symbol.asyncIterator]();
    const first = await batches
      .next()
      .catch((error: unknown) =>
        isCairnError(error, "NOT_READY") && reconnects(request) ? error : asAnswer(error),
      );
    void reply.headers({
      "content-type": "text/event-stream; charset=utf-8",
      // Whoever stands between must neither keep nor gather what is sent.
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    if (first instanceof CairnError) return reply.send(`retry: ${RETRY_MS}\n: ${first.message}\n\n`);
    if (request.method === "HEAD" || first.done === true) {
      closed.abort();
      await batches.return?.();
      return reply.send();
    }
    leaveWhenGone(reply.raw, query.heartbeatMs ?? 0);
    return reply.send(Readable.from(stream(first.value, batches), { objectMode: false, highWaterMark: 1 }));
  });
};

/**
 * Whether whoever asks connects again by itself when a stream ends, and gives up for good when the answer is an error, as EventSource
 * does (WHATWG HTML, 9.2.3); it says that it takes nothing but such a stream.
 */
function reconnects({ headers }: FastifyRequest): boolean {
  return headers.accept === "text/event-stream";
}

/** Heartbeats are taken by whoever is still there. */
function leaveWhenGone(response: ServerResponse, heartbeatMs: number): void {
  const { socket } = response;
  const leave = (): void => void socket?.destroy();
  socket?.setTimeout(Math.max(GONE_AFTER_MS, heartbeatMs * GONE_AFTER_HEARTBEATS), leave);
  // The connection may serve other requests afterwards.
  response.once("close", () => socket?.off("timeout", leave));
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

/** A client that reconnects by itself repeats the address that it began with, and says in a header how far it came since. */
function watchQuery(request: FastifyRequest, query: Query<typeof WATCH>): WatchQuery {
  const { bucket, namespace, from, "from-time": fromTime, heartbeat } = query;
  const last = request.headers["last-event-id"];
  const resumed = typeof last === "string" && last !== "" ? txId(last, "Last-Event-ID") : undefined;
  return {
    ...(bucket === undefined ? {} : { bucket }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(resumed === undefined ? (from === undefined ? {} : { from }) : { from: resumed }),
    ...(fromTime === undefined || (resumed !== undefined && resumed !== from) ? {} : { fromTime }),
    ...(heartbeat === undefined ? {} : { heartbeatMs: heartbeat }),
  };
}

function heartbeatInterval(value: string, name: string): number {
  const heartbeatMs = wholeDuration(value, name);
  if (heartbeatMs >= SHORTEST_HEARTBEAT_MS && heartbeatMs <= LONGEST_HEARTBEAT_MS) return heartbeatMs;
  throw badRequest(`${name} is a duration from PT0.1S to PT1H, not ${JSON.stringify(value)}.`);
}

function asAnswer(error: unknown): never {
  if (!(error instanceof WatchCompactedError)) throw error;
  const { code, message, floor, reason, hint } = error;
  throw new RequestError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
    details: { floor, reason },
  });
}
