import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Server as TlsServer } from "node:tls";
import { CairnError, startTimer, systemErrorCode, errorMessage, TimeSlice } from "@cairn/kv";
import type { HttpOptions, NodeApi, NodeMetrics } from "@cairn/engine";
import { formatCount, localUrl } from "@cairn/text";
import { guard, isLoopback } from "./access.ts";
import { FailedRequests, type HttpLogger } from "./answers/failed-requests.ts";
import { continueWhenRead } from "./answers/unread-body.ts";
import { MORE_FILES, openStreams } from "./answers/open-streams.ts";
import { GONE_AFTER_MS, RequestMemory } from "./answers/request-memory.ts";
import { connectionLimit, Connections, openFilesLimit, streamLimit } from "./connections.ts";
import { pageRoutes, requirePage } from "./page.ts";
import { type OnFiles, ReloadedFiles } from "./permits/reloaded-files.ts";
import { ReloadedTls } from "./permits/server-tls.ts";
import { Tokens } from "./permits/tokens.ts";
import { IndexBacklog } from "./requests/index-backlog.ts";
import { ROUTES } from "./routes/routes.ts";
import { serveRequests } from "./serve-requests.ts";
import { answerConnect, answerUnreadable } from "./unreadable-request.ts";

export interface HttpServer {
  /** The URL at which the server can be reached from this machine, such as `http://127.0.0.1:3000`. */
  readonly url: string;
  readonly port: number;
  /** Makes every later response close its connection. Requests are still accepted. */
  drain(): void;
  /** Gives requests in progress some time to finish, and then closes every connection. May be called twice. */
  close(): Promise<void>;
}

export interface HttpServerContext {
  readonly logger: HttpLogger;
  /** Completes the commands in a hint for those who may read the node's status. By default, hints are left as they are. */
  readonly completeHint?: (hint: string) => string;
  /** The time for which requests in progress may continue when the server closes (ms). Defaults to 5,000. */
  readonly closeTimeoutMs?: number;
  /** How long a request (default 300,000 ms; headers 15,000) or a part of a {@link PacedBody} may take to arrive. */
  readonly requestTimeoutMs?: number;
  /** The time after which a client that receives nothing is considered gone (ms). Defaults to 60,000. */
  readonly goneAfterMs?: number;
  /** The maximum number of open connections. By default, it is derived from the system's limit on open files. */
  readonly maxConnections?: number;
  readonly onAnswered?: NodeMetrics["onRequest"];
  readonly onCertificate?: NodeMetrics["onCertificate"];
  readonly onFiles?: OnFiles;
  /** Called for each connection and each watch that is refused. */
  readonly onRefused?: (problem: CairnError) => void;
}

/** Reads the files that a server with these options needs, and again when they change. Throws `CONFIG_INVALID`. */
export async function openHttpFiles(
  options: Pick<HttpOptions, "tokens" | "tls">,
  context: Pick<HttpServerContext, "logger" | "onCertificate" | "onFiles">,
) {
  const { logger, onCertificate } = context;
  const files = new ReloadedFiles(context);
  try {
    const tokens = await Tokens.open(options.tokens, files);
    const tls = options.tls && (await ReloadedTls.open(options.tls, files, logger, onCertificate));
    return { tokens, tls, close: () => files.close() };
  } catch (error) {
    await files.close();
    throw error;
  }
}

/**
 * Serves `api` over HTTP, even before the node is ready. Resolves once the port is bound. Throws `PORT_IN_USE`,
 * `CONFIG_INVALID` for an address that this machine cannot bind, or `CONFIG_MODULE` if the page is missing.
 */
export async function startHttpServer(
  api: NodeApi,
  options: HttpOptions,
  context: HttpServerContext,
): Promise<HttpServer> {
  const { logger } = context;
  if (options.page !== false) requirePage();
  const { tokens, tls, close: closeFiles } = await openHttpFiles(options, context);
  const { server, connections, failures, memories } = createListener(api, options, {
    ...context,
    tokens,
    tls,
  });
  const close = async (): Promise<void> => {
    const cancel = startTimer(context.closeTimeoutMs ?? 5000, () => server.closeAllConnections());
    const closed = server.listening ? once(server, "close") : undefined;
    connections.close();
    server.close();
    await closed;
    cancel();
    failures.close();
    for (const memory of memories) memory.close();
    await closeFiles();
  };
  try {
    server.listen({ host: options.host === "localhost" ? "127.0.0.1" : options.host, port: options.port });
    await once(server, "listening");
  } catch (error) {
    await close();
    throw bindError(error, options);
  }
  const risk = openness(options);
  if (risk !== undefined) logger.warn({ host: options.host }, risk);
  const { port } = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: localUrl(options.host, port, tls !== undefined),
    port,
    drain: () => connections.drain(),
    close: () => (closing ??= close()),
  };
}

// A request that does not arrive in time, or its headers, is answered with 408 and never executed. A batch may take
// longer (requests/paced-body.ts).
const REQUEST_TIMEOUT_MS = 300_000;
const HEADERS_TIMEOUT_MS = 15_000;
const HANDSHAKE_TIMEOUT_MS = 15_000;
const WARNING_INTERVAL_MS = 60_000;
const LIMIT_REACHED =
  "All connections that the limit on open files allows are in use, so the oldest idle connection is closed for each new one.";
const SLOW_CLIENTS =
  "Clients that have not received their responses within 10 s are disconnected, because other requests wait for the memory.";

/** The time for which a connection without requests stays open (ms). */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;

function createListener(
  api: NodeApi,
  options: HttpOptions,
  context: HttpServerContext & { readonly tokens: Tokens; readonly tls: ReloadedTls | undefined },
) {
  const { logger, onAnswered, onRefused = () => {}, tokens, tls } = context;
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS, goneAfterMs = GONE_AFTER_MS } = context;
  const settings = {
    // access.ts rejects such a request with a reason.
    requireHostHeader: false,
    // Without a timeout, a client that sends an occasional byte would hold a connection forever.
    requestTimeout: requestTimeoutMs,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
    connectionsCheckingInterval: Math.min(5000, requestTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
  };
  const isClientKnown = options.tls?.clientCa !== undefined;
  const server =
    tls === undefined
      ? createHttp(settings)
      : createHttps({
          ...settings,
          ...tls.context,
          requestCert: isClientKnown,
          rejectUnauthorized: isClientKnown,
          handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
        });
  tls?.follow(server as unknown as TlsServer);
  // By default, Node drops header lines beyond the first 2,000, even an If-Match. Their size is limited anyway.
  server.maxHeadersCount = 0;
  const failures = new FailedRequests(logger);
  const maxConnections = context.maxConnections ?? connectionLimit(openFilesLimit());
  const onSlow = atIntervals(() => logger.warn({}, SLOW_CLIENTS));
  const unsent = new RequestMemory(goneAfterMs, onSlow);
  const bodies = new RequestMemory(goneAfterMs, onSlow);
  const memories = [unsent, bodies];
  const connections = new Connections(server, {
    maxConnections,
    onReached: atIntervals(() => logger.warn({ connections: maxConnections }, LIMIT_REACHED)),
    onRefused: () => onRefused(allInUse(maxConnections)),
    isEncrypted: tls !== undefined,
    release: (request) => memories.forEach((memory) => memory.release(request)),
  });
  const onRequest = serveRequests(options.page === false ? ROUTES : [...ROUTES, ...pageRoutes], {
    served: {
      api,
      maxBody: options.maxBody,
      requestTimeoutMs,
      unsent,
      bodies,
      beginStream: openStreams(streamLimit(maxConnections), onRefused),
      slice: new TimeSlice(),
      backlog: new IndexBacklog(),
    },
    guard: guard(options, tokens),
    connections,
    failures,
    completeHint: context.completeHint,
    onAnswered,
  });
  server.on("request", onRequest);
  continueWhenRead(server, onRequest);
  server.on("clientError", (error, socket) => answerUnreadable(error, socket as Socket, connections));
  server.on("connect", (_request, socket) => answerConnect(socket as Socket, connections));
  return { server, connections, failures, memories };
}

function allInUse(maxConnections = 0): CairnError {
  const message = `All connections that this node's limit on open files allows have a request in progress (${formatCount(maxConnections)}).`;
  return new CairnError("OVERLOADED", message, MORE_FILES);
}

function atIntervals(warn: () => void): () => void {
  let warnedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = performance.now();
    if (now - warnedAt < WARNING_INTERVAL_MS) return;
    warnedAt = now;
    warn();
  };
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

function bindError(error: unknown, { host, port }: HttpOptions): unknown {
  const at = `${host}:${port}`;
  switch (systemErrorCode(error)) {
    case "EADDRINUSE":
      return new CairnError("PORT_IN_USE", `Port ${port} of ${host} is already in use.`, {
        hint: "Stop the other program, or set another port with CAIRN_HTTP_PORT or port of cairn/http-server (0 stands for any free port).",
        cause: error,
      });
    case "EACCES":
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new CairnError("CONFIG_INVALID", `The node cannot listen on ${at} (${errorMessage(error)}).`, {
        hint: "Set host to 127.0.0.1 for this machine only, or to 0.0.0.0 for all its addresses (then set tls and tokens), and port to 1024 or higher: lower ones usually require privileges.",
        cause: error,
      });
    default:
      return error;
  }
}
