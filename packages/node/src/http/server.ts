import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import type { Server as TlsServer } from "node:tls";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { fastify, type FastifyInstance } from "fastify";
import type { AnsweredRequest } from "../metrics/http-metrics.ts";
import type { NodeApi } from "../api/node-api.ts";
import type { HttpOptions } from "../api/system.ts";
import { guard, isLoopback } from "./access.ts";
import { compressOnRequest } from "./answers/compression.ts";
import { errorHandler } from "./answers/error-answer.ts";
import { FailedRequests, type HttpLogger } from "./answers/failed-requests.ts";
import { jsonAnswer } from "./answers/json-answer.ts";
import { continueWhenRead } from "./answers/unread-body.ts";
import { connectionLimit, openFilesLimit } from "./open-files-limit.ts";
import { beginInOrder, type Connections, trackConnections } from "./connections.ts";
import { limitApi } from "./permits/permitted-api.ts";
import { ReloadedTls } from "./permits/server-tls.ts";
import { Tickets } from "./permits/tickets.ts";
import { Tokens } from "./permits/tokens.ts";
import { servePage } from "./page.ts";
import { answerPlainReads } from "./plain-reads.ts";
import { acceptBodies } from "./requests/request-body.ts";
import { requestId } from "./requests/request-head.ts";
import { registerRoutes } from "./routes/routes.ts";
import { answerConnect, answerExpectation, answerUnreadable } from "./unreadable-request.ts";
import { GONE_AFTER_MS, limitUnsent, UnsentResponses } from "./answers/unsent-responses.ts";
import { refuseUnserved } from "./unserved-requests.ts";

export interface HttpServer {
  /** The URL at which the server can be reached from this machine, such as `http://127.0.0.1:3000`. */
  readonly url: string;
  readonly port: number;
  /** Makes every later response close its connection. Requests are still accepted. */
  drain(): void;
  /** Gives requests in progress some time to finish, and then closes every connection. May be called twice. */
  close(): Promise<void>;
}

/** The dependencies of {@link startHttpServer}, in addition to the options. */
export interface HttpServerContext {
  readonly logger: HttpLogger;
  /** The logger for failures of single requests. Defaults to `logger`. */
  readonly requestLogger?: HttpLogger;
  /** The time for which requests in progress may continue when the server closes (ms). Defaults to 5,000. */
  readonly closeTimeoutMs?: number;
  /**
   * How long a request may take to arrive: by default 300,000 ms, and 15,000 for the headers. A batch has this time for
   * each part ({@link PacedBody}).
   */
  readonly requestTimeoutMs?: number;
  /** The time after which a client that receives nothing is considered gone (ms). Defaults to 60,000. */
  readonly goneAfterMs?: number;
  /** The maximum number of open connections. By default, it is derived from the system's limit on open files. */
  readonly maxConnections?: number;
  readonly onAnswered?: (request: AnsweredRequest) => void;
}

/**
 * Serves `api` over HTTP. Resolves once the port is bound. Throws `PORT_IN_USE`, or `CONFIG_INVALID` for an address
 * that this machine cannot bind. May be called before the node is ready, because `api` itself rejects calls that it
 * cannot serve yet.
 */
export async function startHttpServer(
  api: NodeApi,
  options: HttpOptions,
  context: HttpServerContext,
): Promise<HttpServer> {
  const { logger } = context;
  const tokens = await Tokens.open(options.tokens, logger);
  let tls: ReloadedTls | undefined;
  try {
    if (options.tls !== undefined) tls = await ReloadedTls.open(options.tls, logger);
  } catch (error) {
    await tokens.close();
    throw error;
  }
  const { app, connections } = createApp(api, options, { ...context, tokens, tls });
  app.addHook("onClose", async () => {
    await tokens.close();
    await tls?.close();
  });
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    throw bindError(error, options);
  }
  const risk = openness(options);
  if (risk !== undefined) logger.warn({ host: options.host }, risk);
  const { port } = app.server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: `${tls === undefined ? "http" : "https"}://${reachableHost(options.host)}:${port}`,
    port,
    drain: () => connections.drain(),
    close: () => (closing ??= closeApp(app, context.closeTimeoutMs ?? 5000)),
  };
}

// A request that does not arrive in time, or its headers, is answered with 408 and never executed. The first time is
// Node's own default, which the framework removes. A batch may take longer (requests/paced-body.ts).
const REQUEST_TIMEOUT_MS = 300_000;
const HEADERS_TIMEOUT_MS = 15_000;
const HANDSHAKE_TIMEOUT_MS = 15_000;
const WARNING_INTERVAL_MS = 60_000;

function createApp(
  api: NodeApi,
  options: HttpOptions,
  context: HttpServerContext & { readonly tokens: Tokens; readonly tls: ReloadedTls | undefined },
): { app: FastifyInstance; connections: Connections } {
  const {
    logger,
    onAnswered,
    tokens,
    tls,
    requestTimeoutMs = REQUEST_TIMEOUT_MS,
    goneAfterMs = GONE_AFTER_MS,
  } = context;
  const failures = new FailedRequests(context.requestLogger ?? logger);
  const handleError = errorHandler(failures, options.maxBody);
  const settings = {
    // access.ts rejects such a request with a reason.
    requireHostHeader: false,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
    connectionsCheckingInterval: Math.min(5000, requestTimeoutMs),
  };
  const isClientKnown = options.tls?.clientCa !== undefined;
  const transport =
    tls === undefined
      ? { http: settings }
      : {
          https: {
            ...settings,
            ...tls.context,
            requestCert: isClientKnown,
            rejectUnauthorized: isClientKnown,
            handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
          },
        };
  const app = fastify({
    ...(transport as { http: typeof settings }),
    bodyLimit: options.maxBody,
    genReqId: requestId,
    // Without a timeout, a client that sends an occasional byte would hold a connection forever.
    requestTimeout: requestTimeoutMs,
    // A stopping node still responds, and `api` rejects calls that it can no longer serve.
    return503OnClosing: false,
    frameworkErrors: handleError,
    clientErrorHandler: (error, socket) => answerUnreadable(error, socket, connections),
    // The routes parse their queries themselves, and strictly (requests/address.ts).
    routerOptions: { querystringParser: () => ({}), maxParamLength: 16_384 },
    // No route has a schema, and schema compilers take 30 ms to load.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  });
  tls?.follow(app.server as unknown as TlsServer);
  app.server.on("checkExpectation", answerExpectation);
  app.server.on("connect", (_request, socket: Socket) => answerConnect(socket, connections));
  continueWhenRead(app.server);
  app.setErrorHandler(handleError);
  app.addHook("onClose", () => failures.close());
  if (onAnswered !== undefined) reportAnswered(app, onAnswered);
  // The order of these hooks matters: even rejected requests must have an id and count as accepted on their connection.
  app.addHook("onRequest", (request, reply, done) => {
    void reply.header("x-request-id", request.id);
    done();
  });
  const maxConnections = context.maxConnections ?? connectionLimit(openFilesLimit());
  const onReached = warnOfLimit(logger, maxConnections);
  const unsent = new UnsentResponses(goneAfterMs, warnOfSlowClients(logger));
  const connections = trackConnections(app, {
    maxConnections,
    onReached,
    isEncrypted: tls !== undefined,
    requestTimeoutMs,
    goneAfterMs,
    unsent,
  });
  limitUnsent(app, unsent);
  const tickets = new Tickets();
  const access = guard(app, options, { tokens, tickets });
  acceptBodies(app);
  app.setReplySerializer(jsonAnswer);
  compressOnRequest(app);
  omitLengthOfEmptyHead(app);
  refuseUnserved(app);
  registerRoutes(app, limitApi(api), { maxBody: options.maxBody, requestTimeoutMs, tickets });
  if (options.page !== false) servePage(app, api, { requiresToken: tokens.areRequired });
  answerPlainReads(app, api, { guard: access, connections, unsent, onAnswered });
  beginInOrder(app, connections);
  return { app, connections };
}

function warnOfLimit(logger: HttpLogger, connections: number | undefined): () => void {
  return atIntervals(() =>
    logger.warn(
      { connections },
      "All connections that the limit on open files allows are in use, so the oldest idle connection is closed for each new one.",
    ),
  );
}

function warnOfSlowClients(logger: HttpLogger): () => void {
  return atIntervals(() =>
    logger.warn(
      {},
      "Clients that have not received their responses within 10 s are disconnected, because other requests wait for the memory.",
    ),
  );
}

/** Returns a function that calls `warn` at most once a minute. */
function atIntervals(warn: () => void): () => void {
  let warnedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - warnedAt < WARNING_INTERVAL_MS) return;
    warnedAt = now;
    warn();
  };
}

function noSchemas(): never {
  throw new Error("Routes must not have schemas, because they parse their queries and bodies themselves.");
}

/** The framework would send 0, which is not the length of the body that GET returns (RFC 9110, 8.6). */
function omitLengthOfEmptyHead(app: FastifyInstance): void {
  app.addHook("onSend", ({ method }, _reply, payload, done) => {
    done(null, method === "HEAD" && payload === undefined ? Readable.from([]) : payload);
  });
}

/** Requests rejected before they reach a route share one name, to keep the number of metric labels small. */
function reportAnswered(app: FastifyInstance, onAnswered: (request: AnsweredRequest) => void): void {
  app.addHook("onResponse", (request, reply, done) => {
    const { method, routeOptions } = request;
    const seconds = reply.elapsedTime / 1_000;
    onAnswered({ method, route: routeOptions.url ?? "none", status: reply.statusCode, seconds });
    done();
  });
}

/** Returns what other machines can do because of missing options; undefined if it is nothing. */
function openness({ host, tokens, tls }: HttpOptions): string | undefined {
  if (isLoopback(host)) return undefined;
  if (tokens === undefined && tls?.clientCa === undefined) {
    return "Every machine that can connect to this address can read and change everything, because the node requires no token. Set tokens and tls of cairn/http-server, or set host to 127.0.0.1 if only this machine needs the node.";
  }
  if (tls !== undefined) return undefined;
  return "Tokens and documents cross the network unencrypted. Set tls of cairn/http-server, or set host to 127.0.0.1 and let a proxy on this machine encrypt the connections.";
}

/** Returns a host to which clients can connect, because not every system can connect to a wildcard address. */
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
        hint: "Stop the other program, or set another port with CAIRN_HTTP_PORT or port of cairn/http-server (0 stands for any free port).",
        cause: error,
      });
    case "EACCES":
      return new CairnError("CONFIG_INVALID", `This user is not allowed to listen on ${at}.`, {
        hint: "Choose a port of 1024 or higher, because lower ones usually require privileges.",
        cause: error,
      });
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new CairnError("CONFIG_INVALID", `${host} is not an address of this machine.`, {
        hint: "Use 127.0.0.1 for this machine only, or 0.0.0.0 for all its addresses (then set tls and tokens).",
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
