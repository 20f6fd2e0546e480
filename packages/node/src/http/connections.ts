import type { IncomingMessage, RequestListener } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { toOriginForm } from "./requests/address.ts";
import { isSafeMethod } from "./requests/request-head.ts";

/** The requests of one connection. */
interface ConnectionState {
  /** How many were taken and are not answered yet. */
  underWay: number;
  /** How many of those may change something. */
  unsafe: number;
  /** The request taken last, whose answer will be the last. */
  last?: IncomingMessage;
  /** Requests that wait for those under way. */
  readonly waiting: { readonly isSafe: boolean; readonly begin: () => void }[];
}

/** The connections of a server, and the requests under way on them. */
export interface Connections {
  /** From now on every answer ends its connection, and requests sent ahead behind it are not begun. New connections are accepted. */
  drain(): void;
  /**
   * Calls `begin` once the requests that the connection sent before allow it. Requests sent ahead of their answers may run concurrently
   * only if none of them changes anything (RFC 9112, 9.3.2): a write waits for all before it, and all behind it wait for the write.
   */
  inOrder(request: IncomingMessage, begin: () => void): void;
  /** Counts a request as under way; false if it will not be answered because its connection ends before. */
  take(request: IncomingMessage): boolean;
  /** Whether the connection ends with the answer to this request, which then has to say so. */
  endsWith(request: IncomingMessage): boolean;
  /** Counts a request as answered. */
  answered(request: IncomingMessage): void;
  /** Announces that a request that was taken will be taken once more. It keeps its place on its connection. */
  handOver(request: IncomingMessage): void;
}

/** How many connections a server holds. */
export interface ConnectionLimit {
  /** A new connection beyond these replaces the oldest idle one. Default: no limit. */
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

/** Begins waiting requests in their order, as long as the next one may begin. */
function beginNext(state: ConnectionState): void {
  for (;;) {
    const [next] = state.waiting;
    if (next === undefined || !mayBegin(state, next.isSafe)) return;
    state.waiting.shift();
    next.begin();
  }
}

/** How long to read on for a client that keeps its side open, or never stops sending. */
const LINGER_MS = 500;

/**
 * Ends a connection, and reads on for a moment: a connection that is closed over unread bytes is reset, and a client that still sends sees
 * the reset instead of the answers on their way.
 */
function endGently(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end();
  // After a stall of the event loop this timer runs before the sockets are read, so read them once more.
  const linger = setTimeout(() => setImmediate(() => socket.destroy()), LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
}

/**
 * Tracks the connections of `app`: keeps within their limit and, when the server closes, ends each once its requests are answered. Node's
 * own close leaves connections with requests under way open for more, until a timeout, and cuts off answers that are written but not sent.
 * Requests that were sent ahead (pipelined) and taken are answered before the end; later ones are not taken, so that nothing is done
 * without an answer.
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
      // If every connection is busy, none is given up for the new one.
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
      // Requests that were not begun when the connection ends are not done.
      if (!closing && !draining) beginNext(state);
    },
    handOver: (request) => void handedOver.add(request),
  };
  app.addHook("onRequest", ({ raw }, reply, done) => {
    if (!requests.take(raw)) return void reply.hijack();
    // The framework considers a request that was handed over as late, and would end the connection before the answers behind it.
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
      // Node calls this behind an answer that says it is the last.
      socket.destroySoon = () => endGently(socket);
      if (underWay === 0) endGently(socket);
    }
    done();
  });
  // The server's close calls this.
  app.server.closeIdleConnections = () => undefined;
  return requests;
}

/** Has every request of a server begin in its connection's order, before any other listener. To be called after the last listener was added. */
export function beginInOrder({ server }: FastifyInstance, connections: Connections): void {
  const listeners = server.listeners("request") as RequestListener[];
  server.removeAllListeners("request");
  // Node would drop header lines beyond 2,000, even an If-Match; their total size is limited anyway.
  server.maxHeadersCount = 0;
  server.on("request", (request, response) => {
    toOriginForm(request);
    connections.inOrder(request, () => listeners.forEach((listener) => listener(request, response)));
  });
}
