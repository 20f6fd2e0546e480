import type { AddressInfo } from "node:net";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { fastify, type FastifyInstance } from "fastify";
import type { AnsweredRequest } from "../metrics/http-metrics.ts";
import type { NodeApi } from "../api/node-api.ts";
import type { HttpOptions } from "../api/system.ts";
import { guard } from "./access.ts";
import { omitLengthOfEmptyHead } from "./answers/bodiless.ts";
import { compressOnRequest } from "./answers/compression.ts";
import { continueWhenRead } from "./answers/continue.ts";
import { errorHandler } from "./answers/error-response.ts";
import { FailedRequests, type HttpLogger } from "./answers/failed-requests.ts";
import { jsonAnswer } from "./answers/json-answer.ts";
import { acceptBodies } from "./requests/request-body.ts";
import { collectMethods } from "./requests/methods.ts";
import { connectionLimit, openFilesLimit } from "./connection-limit.ts";
import { type Connections, endConnectionsOnClose } from "./end-connections.ts";
import { answerPlainReads } from "./plain-reads.ts";
import { requestId, tellRequestId } from "./request-id.ts";
import { refuseUnserved, takeInTurn } from "./take-requests.ts";
import { answerExpectation, answerUnreadable } from "./unreadable-request.ts";
import { registerRoutes } from "./routes/routes.ts";

/** A running server. */
export interface HttpServer {
  /** Where to reach it from this machine, e.g. `http://127.0.0.1:3000`. */
  readonly url: string;
  readonly port: number;
  /** From now on every answer ends its connection; requests are still taken and answered. */
  drain(): void;
  /** Takes no new requests, lets those under way finish for a while, then ends every connection. Twice is fine. */
  close(): Promise<void>;
}

/** What else {@link startHttpServer} takes. */
export interface HttpServerContext {
  readonly logger: HttpLogger;
  /** How long requests under way may go on when the server closes; 5,000 by default. */
  readonly closeTimeoutMs?: number;
  /** How long a request may take to arrive; 300,000 by default, and 15,000 for its headers. */
  readonly requestTimeoutMs?: number;
  /** Connections held at once; by default as many as the system's limit of open files leaves for them. */
  readonly maxConnections?: number;
  /** Told each request that was answered. */
  readonly onAnswered?: (request: AnsweredRequest) => void;
}

/**
 * Serves `api` over HTTP; answers when the port is bound. Errors: `PORT_IN_USE`, and `CONFIG_INVALID` for an address that
 * this machine cannot bind. It may start before the node is ready: `api` itself refuses what it cannot do yet.
 */
export async function startHttpServer(
  api: NodeApi,
  options: HttpOptions,
  context: HttpServerContext,
): Promise<HttpServer> {
  const { app, connections } = createApp(api, options, context);
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    throw bindError(error, options);
  }
  const { port } = app.server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: `http://${reachableHost(options.host)}:${port}`,
    port,
    drain: () => connections.drain(),
    close: () => (closing ??= closeApp(app, context.closeTimeoutMs ?? 5000)),
  };
}

// Node's own default; Fastify takes it away. Long enough for a large batch.
const REQUEST_TIMEOUT_MS = 300_000;
const HEADERS_TIMEOUT_MS = 15_000;
const TOLD_EVERY_MS = 60_000;

function createApp(
  api: NodeApi,
  options: HttpOptions,
  context: HttpServerContext,
): { app: FastifyInstance; connections: Connections } {
  const { logger, onAnswered } = context;
  const failures = new FailedRequests(logger);
  const handleError = errorHandler(failures, options.maxBody);
  const app = fastify({
    bodyLimit: options.maxBody,
    genReqId: requestId,
    // Who sends a byte now and then would hold a connection for ever.
    requestTimeout: context.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
    http: {
      // Refused with a reason (access.ts).
      requireHostHeader: false,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, context.requestTimeoutMs ?? HEADERS_TIMEOUT_MS),
      connectionsCheckingInterval: Math.min(5000, context.requestTimeoutMs ?? 5000),
    },
    // A node that stops still answers; what it cannot do any more it says itself, in the shape of all errors.
    return503OnClosing: false,
    frameworkErrors: handleError,
    clientErrorHandler: answerUnreadable,
    // Routes read their own query, strictly (query.ts).
    routerOptions: { querystringParser: () => ({}), maxParamLength: 16_384 },
    // No route has a schema: what would compile them takes 30 ms to load, which a start need not wait for.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  });
  app.server.on("checkExpectation", answerExpectation);
  continueWhenRead(app.server);
  app.setErrorHandler(handleError);
  app.addHook("onClose", () => failures.close());
  if (onAnswered !== undefined) tellAnswered(app, onAnswered);
  // In this order: what is refused has an id as well, and counts as taken where its connection is to end.
  app.addHook("onRequest", tellRequestId);
  const most = context.maxConnections ?? connectionLimit(openFilesLimit());
  const connections = endConnectionsOnClose(app, { most, onReached: tellNowAndThen(logger, most) });
  const access = guard(app, options);
  acceptBodies(app);
  app.setReplySerializer(jsonAnswer);
  compressOnRequest(app);
  omitLengthOfEmptyHead(app);
  const methods = collectMethods(app);
  refuseUnserved(app, methods);
  registerRoutes(app, api, options);
  answerPlainReads(app, api, { guard: access, connections, onAnswered });
  takeInTurn(app, connections);
  return { app, connections };
}

/** A line a minute, however many connections come. */
function tellNowAndThen(logger: HttpLogger, connections: number | undefined): () => void {
  let toldAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - toldAt < TOLD_EVERY_MS) return;
    toldAt = now;
    logger.warn(
      { connections },
      "All connections that the limit of open files leaves are taken: the oldest that waits for nothing makes room for a new one.",
    );
  };
}

function noSchemas(): never {
  throw new Error("Routes have no schemas: they read their own query and body.");
}

/** What is refused before it reaches a route has none: it is told as one, however many addresses are tried. */
function tellAnswered(app: FastifyInstance, onAnswered: (request: AnsweredRequest) => void): void {
  app.addHook("onResponse", (request, reply, done) => {
    const { method, routeOptions } = request;
    const seconds = reply.elapsedTime / 1_000;
    onAnswered({ method, route: routeOptions.url ?? "none", status: reply.statusCode, seconds });
    done();
  });
}

/** A wildcard address is none that one can connect to everywhere. */
function reachableHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

function bindError(error: unknown, { host, port }: HttpOptions): unknown {
  const at = `${host}:${port}`;
  switch (systemErrorCode(error)) {
    case "EADDRINUSE":
      return new CairnError("PORT_IN_USE", `Port ${port} of ${host} is already in use.`, {
        hint: "Stop the other program, or set another port (CAIRN_HTTP_PORT, or port of cairn/http-server; 0 takes any free one).",
        cause: error,
      });
    case "EACCES":
      return new CairnError("CONFIG_INVALID", `This user may not listen on ${at}.`, {
        hint: "Ports below 1024 usually need privileges; choose a higher one.",
        cause: error,
      });
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new CairnError("CONFIG_INVALID", `${host} is not an address of this machine.`, {
        hint: "Use 127.0.0.1 for this machine only, or 0.0.0.0 for all its addresses (then set an auth-token).",
        cause: error,
      });
    default:
      return error;
  }
}

async function closeApp(app: FastifyInstance, timeoutMs: number): Promise<void> {
  const { server } = app;
  const limit = setTimeout(() => server.closeAllConnections(), timeoutMs);
  try {
    await app.close();
  } finally {
    clearTimeout(limit);
  }
}
