import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { isSafeMethod } from "./requests/methods.ts";

/** A connection's requests that were taken and are not answered yet, and those that wait for them. */
interface Taken {
  underWay: number;
  /** How many of them may change something. */
  unsafe: number;
  /** The one whose answer is the last. */
  last?: IncomingMessage;
  readonly waiting: { readonly isSafe: boolean; readonly begin: () => void }[];
}

/** The requests under way on a server's connections. */
export interface Connections {
  /** From now on every answer ends its connection, and what was sent ahead behind it is not begun; new connections are taken. */
  drain(): void;
  /**
   * Calls `begin` when it is a request's turn. What a connection sends ahead of its answers may be done at once only where none of it
   * changes anything (RFC 9112, 9.3.2): a write waits for all that came before it, and what came behind it waits for the write.
   */
  inTurn(request: IncomingMessage, begin: () => void): void;
  /** Notes that a request will be answered; false when it will not, since its connection ends before. */
  take(request: IncomingMessage): boolean;
  /** Whether the connection ends with the answer to this request, which then has to say so. */
  endsWith(request: IncomingMessage): boolean;
  /** Notes that a request was answered. */
  answered(request: IncomingMessage): void;
  /** A request that was taken is about to be taken by somebody else: it stays the one it was in the order of its connection. */
  handOver(request: IncomingMessage): void;
}

/** How many connections a server holds. A new one beyond that takes the place of the oldest that waits for nothing. */
export interface ConnectionLimit {
  /** No limit by default. */
  readonly most?: number | undefined;
  /** Called for each connection that is refused or closed for it. */
  readonly onReached?: () => void;
}

/** The oldest connection on which no request is under way. */
function firstIdle(connections: ReadonlyMap<Socket, Taken>): Socket | undefined {
  for (const [socket, { underWay }] of connections) if (underWay === 0) return socket;
  return undefined;
}

function mayBegin({ underWay, unsafe }: Taken, isSafe: boolean): boolean {
  return isSafe ? unsafe === 0 : underWay === 0;
}

/** Begins what waited, as far as it may be done at once. */
function beginNext(taken: Taken): void {
  for (;;) {
    const [next] = taken.waiting;
    if (next === undefined || !mayBegin(taken, next.isSafe)) return;
    taken.waiting.shift();
    next.begin();
  }
}

/** For a client that keeps its side open, or sends on and on. */
const LINGER_MS = 500;

/**
 * Ends a connection, and reads on for a moment: one that is closed over unread bytes is reset, and a client that still sends sees that
 * instead of the answers that are on their way to it.
 */
function endGently(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end();
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
}

/**
 * Keeps `app` within its limit of connections, and lets it end each connection once the requests on it are answered when it closes. Node's own way leaves those of requests under
 * way open for more, until somebody's patience ends; and it cuts off an answer that is written but not sent yet. What was sent ahead
 * (pipelined) and taken is answered before the end is told; what comes later is not taken at all, so that nothing is done unanswered.
 */
export function endConnectionsOnClose(app: FastifyInstance, limit: ConnectionLimit = {}): Connections {
  const connections = new Map<Socket, Taken>();
  const handedOver = new WeakSet<IncomingMessage>();
  let closing = false;
  let draining = false;
  app.server.on("connection", (socket: Socket) => {
    if (closing) return void socket.destroy();
    if (connections.size >= (limit.most ?? Number.POSITIVE_INFINITY)) {
      limit.onReached?.();
      const idle = firstIdle(connections);
      // Where every connection is at work, none of them gives way.
      if (idle === undefined) return void socket.destroy();
      connections.delete(idle);
      idle.destroy();
    }
    connections.set(socket, { underWay: 0, unsafe: 0, waiting: [] });
    socket.once("close", () => connections.delete(socket));
  });
  const requests: Connections = {
    drain: () => void (draining = true),
    inTurn({ socket, method }, begin) {
      const taken = connections.get(socket);
      const isSafe = isSafeMethod(method);
      if (taken === undefined || (taken.waiting.length === 0 && mayBegin(taken, isSafe))) return void begin();
      taken.waiting.push({ isSafe, begin });
    },
    take(request) {
      if (handedOver.delete(request)) return true;
      if (closing) return false;
      const taken = connections.get(request.socket);
      if (taken !== undefined) {
        taken.underWay += 1;
        if (!isSafeMethod(request.method)) taken.unsafe += 1;
        taken.last = request;
      }
      return true;
    },
    // What was refused before it was taken ends its connection too.
    endsWith: (request) =>
      (closing || draining) && (connections.get(request.socket)?.last ?? request) === request,
    answered({ socket, method }) {
      const taken = connections.get(socket);
      if (taken === undefined) return;
      if (closing && taken.underWay === 1) endGently(socket);
      taken.underWay = Math.max(0, taken.underWay - 1);
      if (!isSafeMethod(method)) taken.unsafe = Math.max(0, taken.unsafe - 1);
      // What was not begun when the connection ends is not done.
      if (!closing && !draining) beginNext(taken);
    },
    handOver: (request) => void handedOver.add(request),
  };
  app.addHook("onRequest", ({ raw }, reply, done) => {
    if (!requests.take(raw)) return void reply.hijack();
    // The framework takes one that was handed over for late, and would end the connection before the answers that follow.
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
      // Called behind an answer that says it is the last.
      socket.destroySoon = () => endGently(socket);
      if (underWay === 0) endGently(socket);
    }
    done();
  });
  // Called by the server's close.
  app.server.closeIdleConnections = () => undefined;
  return requests;
}
