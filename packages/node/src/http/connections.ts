import type { IncomingMessage, RequestListener } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { toOriginForm } from "./requests/address.ts";
import { isSafeMethod } from "./requests/request-head.ts";

/** The requests of one connection. */
interface ConnectionState {
  /** The number of requests taken and not yet answered. */
  underWay: number;
  /** The number of those that may change something. */
  unsafe: number;
  /** The request taken last; its response will be the last. */
  last?: IncomingMessage;
  /** Requests that wait for those under way. */
  readonly waiting: { readonly isSafe: boolean; readonly begin: () => void }[];
}

/** The connections of a server, and the requests under way on them. */
export interface Connections {
  /** Makes every further response end its connection, and begins no request pipelined behind it. New connections are accepted. */
  drain(): void;
  /**
   * Calls `begin` once the connection's earlier requests allow it. Pipelined requests may run concurrently only if none of them changes
   * anything (RFC 9112, 9.3.2): a write waits for all requests before it, and all requests behind it wait for the write.
   */
  inOrder(request: IncomingMessage, begin: () => void): void;
  /** Counts a request as under way; false if it will not be answered because its connection ends first. */
  take(request: IncomingMessage): boolean;
  /** Returns whether the connection ends with the response to this request; that response has to say so. */
  endsWith(request: IncomingMessage): boolean;
  /** Counts a request as answered. */
  answered(request: IncomingMessage): void;
  /** Announces that a request that was taken will be taken once more. The request keeps its place on its connection. */
  handOver(request: IncomingMessage): void;
}

/** The limit on the connections of a server. */
export interface ConnectionLimit {
  /** The most connections. Any more replace the oldest idle connection. Default: no limit. */
  readonly maxConnections: number | undefined;
  /** Called for each connection that is refused or closed because of the limit. */
  readonly onReached: () => void;
}

function firstIdle(connections: ReadonlyMap<Socket, ConnectionState>): Socket | undefined {
  for (const [socket, { underWay }] of connections) if (underWay === 0) return socket;
  return undefined;
}

function mayBegin({ underWay, unsafe }: ConnectionState, isSafe: boolean): boolean {
  return isSafe ? unsafe === 0 : underWay === 0;
}

/** Begins the waiting requests in order, as long as the next one may begin. */
function beginNext(state: ConnectionState): void {
  for (;;) {
    const [next] = state.waiting;
    if (next === undefined || !mayBegin(state, next.isSafe)) return;
    state.waiting.shift();
    next.begin();
  }
}

/** The time for which to keep reading from a client that does not close its side, or never stops sending, in milliseconds. */
const LINGER_MS = 500;

/**
 * Ends a connection, but keeps reading for a moment: closing a connection with unread bytes resets it, and a client that is still sending
 * sees the reset instead of the responses on their way.
 */
function endGently(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end();
  // After a stall of the event loop, this timer runs before the sockets are read; so let them be read once more.
  const linger = setTimeout(() => setImmediate(() => socket.destroy()), LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
}

/**
 * Tracks the connections of `app`: keeps their number within the limit and, when the server closes, ends each connection once its requests
 * are answered. Node's own close keeps connections with requests under way open for further requests, until a timeout, and cuts off
 * responses that are written but not sent. Pipelined requests that were taken are answered before the end; later ones are not taken, so
 * that nothing is done without a response.
 */
export function trackConnections(
  app: FastifyInstance,
  { maxConnections = Number.POSITIVE_INFINITY, onReached }: ConnectionLimit,
): Connections {
  const connections = new Map<Socket, ConnectionState>();
  const handedOver = new WeakSet<IncomingMessage>();
  let closing = false;
  let draining = false;
  app.server.on("connection", (socket: Socket) => {
    if (closing) return void socket.destroy();
    if (connections.size >= maxConnections) {
      onReached();
      const idle = firstIdle(connections);
      // If every connection is busy, none is closed for the new one.
      if (idle === undefined) return void socket.destroy();
      connections.delete(idle);
      idle.destroy();
    }
    connections.set(socket, { underWay: 0, unsafe: 0, waiting: [] });
    socket.once("close", () => connections.delete(socket));
  });
  const requests: Connections = {
    drain: () => void (draining = true),
    inOrder({ socket, method }, begin) {
      const state = connections.get(socket);
      const isSafe = isSafeMethod(method);
      if (state === undefined || (state.waiting.length === 0 && mayBegin(state, isSafe))) return void begin();
      state.waiting.push({ isSafe, begin });
    },
    take(request) {
      if (handedOver.delete(request)) return true;
      if (closing) return false;
      const state = connections.get(request.socket);
      if (state !== undefined) {
        state.underWay += 1;
        if (!isSafeMethod(request.method)) state.unsafe += 1;
        state.last = request;
      }
      return true;
    },
    // A request that was refused before it was taken ends its connection, too.
    endsWith: (request) =>
      (closing || draining) && (connections.get(request.socket)?.last ?? request) === request,
    answered({ socket, method }) {
      const state = connections.get(socket);
      if (state === undefined) return;
      if (closing && state.underWay === 1) endGently(socket);
      state.underWay = Math.max(0, state.underWay - 1);
      if (!isSafeMethod(method)) state.unsafe = Math.max(0, state.unsafe - 1);
      // Requests not begun by the end of the connection are never processed.
      if (!closing && !draining) beginNext(state);
    },
    handOver: (request) => void handedOver.add(request),
  };
  app.addHook("onRequest", ({ raw }, reply, done) => {
    if (!requests.take(raw)) return void reply.hijack();
    // The framework takes a request that was handed over for a late one, and would end the connection before the responses behind it.
    if (closing) reply.raw.removeHeader("connection");
    done();
  });
  app.addHook("onSend", ({ raw }, reply, _payload, done) => {
    if (requests.endsWith(raw)) void reply.header("connection", "close");
    done();
  });
  app.addHook("onResponse", ({ raw }, _reply, done) => {
    requests.answered(raw);
    done();
  });
  app.addHook("preClose", (done) => {
    closing = true;
    for (const [socket, { underWay }] of connections) {
      // Node calls this after a response that says it is the last.
      socket.destroySoon = () => endGently(socket);
      if (underWay === 0) endGently(socket);
    }
    done();
  });
  // The server's close calls this.
  app.server.closeIdleConnections = () => undefined;
  return requests;
}

/**
 * Makes every request of a server begin in its connection's order, before any other listener runs. To be called after the last listener was
 * added.
 */
export function beginInOrder({ server }: FastifyInstance, connections: Connections): void {
  const listeners = server.listeners("request") as RequestListener[];
  server.removeAllListeners("request");
  // Node would drop header lines beyond 2,000, even an If-Match; the total size of headers is limited anyway.
  server.maxHeadersCount = 0;
  server.on("request", (request, response) => {
    toOriginForm(request);
    connections.inOrder(request, () => listeners.forEach((listener) => listener(request, response)));
  });
}
