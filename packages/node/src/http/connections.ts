import type { IncomingMessage, RequestListener } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { toOriginForm } from "./requests/address.ts";
import { isSafeMethod } from "./requests/request-head.ts";

/** The requests of one connection. */
interface ConnectionState {
  /** The number of requests that have been accepted but not yet answered. */
  underWay: number;
  /** The number of those requests that may change something. */
  unsafe: number;
  /** The request that was accepted last. Its response will be the last one. */
  last?: IncomingMessage;
  /** The requests that are waiting for those in progress. */
  readonly waiting: { readonly isSafe: boolean; readonly begin: () => void }[];
  /** The request that arrived last, until it is answered. Its body may be incomplete. */
  newest?: IncomingMessage | undefined;
  /** Responds to bytes behind all complete requests that are not a request. */
  atEnd?: () => void;
  /** Whether nothing is read because too many requests have not been answered. */
  isHeld: boolean;
  /** What has come too late while nothing was read: `body` is the incomplete body, unless headers are incomplete. */
  late?: { readonly body: IncomingMessage | undefined; readonly refuse: () => void } | undefined;
  /** Runs until something late is refused. */
  grace?: NodeJS.Timeout | undefined;
  /** Whether the last response has been sent, so that nothing else that arrives is processed. */
  isOver: boolean;
  /** The request whose body had not arrived when the last response refused it. */
  refused?: IncomingMessage | undefined;
}

/** The connections of a server and their requests in progress. */
export interface Connections {
  /**
   * Makes every later response close its connection. Requests that are pipelined behind such a response are not
   * processed. New connections are still accepted.
   */
  drain(): void;
  /**
   * Calls `begin` once the connection's earlier requests allow it. Pipelined requests may run concurrently only if none
   * of them changes anything (RFC 9112, 9.3.2): a write waits for all requests before it, and all requests behind it
   * wait for the write.
   */
  inOrder(request: IncomingMessage, begin: () => void): void;
  /** Counts a request as in progress. Returns false if it will get no response because its connection closes first. */
  take(request: IncomingMessage): boolean;
  /**
   * Returns whether the connection closes after the response to this request. If it does, the response must announce
   * that.
   */
  endsWith(request: IncomingMessage): boolean;
  /** Counts a request as answered. */
  answered(request: IncomingMessage): void;
  /**
   * Calls `respond` once all complete requests on the connection have been answered, because a client takes the first
   * response for that of its first request. Only the first call has an effect: nothing that follows can be understood.
   * Nothing that arrives after the response is processed, not even the rest of an incomplete request, because its client
   * may send it again.
   */
  atEnd(socket: Socket, respond: () => void): void;
  /** Returns the request whose body is arriving on a connection; undefined if there is none. */
  arriving(socket: Socket): IncomingMessage | undefined;
  /**
   * Returns whether a connection is not being read, so that it is not the client's fault if the rest of a request does
   * not arrive in time. If it is, `refuse` is called if the rest does not arrive within the time limit after the
   * connection is read again.
   */
  excuses(socket: Socket, refuse: () => void): boolean;
  /**
   * Announces that an accepted request will be passed on and counted again. The request keeps its place on its
   * connection.
   */
  handOver(request: IncomingMessage): void;
}

/** The limit on the connections of a server. */
export interface ConnectionLimit {
  /**
   * The maximum number of connections. Each additional connection replaces the oldest idle one. Defaults to no limit.
   */
  readonly maxConnections: number | undefined;
  /** Called for each connection that is refused or closed because of the limit. */
  readonly onReached: () => void;
  /** Whether a connection begins with a TLS handshake. Defaults to false. */
  readonly isEncrypted?: boolean;
  /** The time that a request may take to arrive (ms). */
  readonly requestTimeoutMs: number;
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

/**
 * The number of unanswered requests of a connection beyond which nothing more is read from it. Without a limit, a client
 * could fill the memory with requests that take long, because nothing else slows it down: Node stops reading only
 * because of bodies that are not read and responses that are not received. All requests in the bytes that have been read
 * (at most 64 KiB at a time) are accepted, so their number may be larger.
 */
const MAX_UNANSWERED = 100;

function unanswered({ underWay, waiting }: ConnectionState): number {
  return underWay + waiting.length;
}

/** Returns whether all requests have been answered, except one that has not arrived completely. */
function areCompleteAnswered(state: ConnectionState): boolean {
  const incomplete = state.newest?.complete === false ? 1 : 0;
  return unanswered(state) === incomplete;
}

/** The time for which to keep reading from a client that does not close its side or never stops sending (ms). */
const LINGER_MS = 500;

/**
 * Closes a connection, but keeps reading for a moment. If it were closed with unread bytes, it would be reset, and a
 * client that is still sending would see the reset instead of the pending responses.
 */
function endGently(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end();
  linger(socket);
}

function linger(socket: Socket): void {
  // Nothing that arrives is processed any more, and there may be more of it than could be parsed in this time.
  socket.removeAllListeners("data");
  socket.on("data", () => undefined);
  socket.resume();
  // After a stall of the event loop, this timer runs before the sockets are read, so they are read once more before the
  // connection is destroyed.
  const timer = setTimeout(() => setImmediate(() => socket.destroy()), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
}

/** Like {@link endGently}, but however long it takes to send the responses. */
function endOnceSent(socket: Socket): void {
  if (!socket.writableEnded) socket.end();
  if (socket.writableFinished) linger(socket);
  else socket.once("finish", () => linger(socket));
}

/**
 * The connections whose TLS handshake has not ended. They hold an open file like any other. The socket of a handshake is
 * another object than the encrypted one that follows, so both are identified by their remote end.
 */
class Handshakes {
  readonly #sockets = new Map<string, Socket>();

  get size(): number {
    return this.#sockets.size;
  }

  begin(socket: Socket): void {
    const end = remoteEnd(socket);
    this.#sockets.set(end, socket);
    socket.once("close", () => {
      if (this.#sockets.get(end) === socket) this.#sockets.delete(end);
    });
  }

  end(socket: Socket): void {
    this.#sockets.delete(remoteEnd(socket));
  }

  destroy(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

function remoteEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/**
 * Tracks the connections of `app`. It keeps their number within the limit and, when the server closes, ends each
 * connection once its requests have been answered. Node's own close method would keep connections with pending requests
 * open for more requests until a timeout, and would cut off responses that have been written but not sent. Pipelined
 * requests that were accepted get their responses before the connection closes. Later ones are not accepted, so no
 * change is made without a response.
 */
export function trackConnections(
  app: FastifyInstance,
  {
    maxConnections = Number.POSITIVE_INFINITY,
    onReached,
    isEncrypted = false,
    requestTimeoutMs,
  }: ConnectionLimit,
): Connections {
  const handshakes = new Handshakes();
  const connections = new Map<Socket, ConnectionState>();
  const handedOver = new WeakSet<IncomingMessage>();
  let closing = false;
  let draining = false;
  const admit = (socket: Socket): boolean => {
    if (!closing && connections.size + handshakes.size >= maxConnections) {
      onReached();
      const idle = firstIdle(connections);
      // If every connection is busy, none is closed for the new one.
      if (idle === undefined) socket.destroy();
      else {
        connections.delete(idle);
        idle.destroy();
      }
    }
    if (closing) socket.destroy();
    return !socket.destroyed;
  };
  const register = (socket: Socket): void => {
    const state: ConnectionState = { underWay: 0, unsafe: 0, waiting: [], isHeld: false, isOver: false };
    connections.set(socket, state);
    socket.once("close", () => {
      connections.delete(socket);
      clearTimeout(state.grace);
    });
    // Node resumes reading after each request, even if it was paused.
    socket.on("resume", () => {
      if (state.isHeld && !socket.writableEnded) socket.pause();
    });
  };
  const readAgain = (socket: Socket, state: ConnectionState): void => {
    state.isHeld = false;
    socket.resume();
    const { late } = state;
    state.late = undefined;
    if (late === undefined) return;
    state.grace = setTimeout(() => {
      if (late.body?.complete !== true) late.refuse();
    }, requestTimeoutMs);
  };
  app.server.on("connection", (socket: Socket) => {
    if (!admit(socket)) return;
    if (isEncrypted) handshakes.begin(socket);
    else register(socket);
  });
  app.server.on("secureConnection", (socket: Socket) => {
    handshakes.end(socket);
    if (closing) return void socket.destroy();
    register(socket);
    // With this listener, Node passes decrypted bytes through the stream, which keeps them while it is paused. Without
    // it, its parser would get them even while it is paused, and would refuse them (HPE_PAUSED).
    socket.on("data", () => undefined);
  });
  // There is no way to respond before the handshake has succeeded.
  app.server.prependListener("tlsClientError", (_error: Error, socket: Socket) => void socket.destroy());
  const requests: Connections = {
    drain: () => void (draining = true),
    inOrder(request, begin) {
      const { socket, method } = request;
      const state = connections.get(socket);
      if (state === undefined) return void begin();
      if (state.isOver || closing) return;
      state.newest = request;
      clearTimeout(state.grace);
      const isSafe = isSafeMethod(method);
      if (state.waiting.length === 0 && mayBegin(state, isSafe)) begin();
      else state.waiting.push({ isSafe, begin });
      if (state.isHeld || unanswered(state) <= MAX_UNANSWERED) return;
      state.isHeld = true;
      socket.pause();
      // Node calls this after a response that announces the end of the connection. Many bytes may be unread.
      socket.destroySoon = () => endOnceSent(socket);
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
    // A request that was rejected before it was accepted also closes its connection.
    endsWith: (request) =>
      (closing || draining) && (connections.get(request.socket)?.last ?? request) === request,
    answered(request) {
      const { socket, method } = request;
      const state = connections.get(socket);
      if (state === undefined) return;
      if (state.newest === request) state.newest = undefined;
      if (closing && state.underWay === 1) endGently(socket);
      state.underWay = Math.max(0, state.underWay - 1);
      if (!isSafeMethod(method)) state.unsafe = Math.max(0, state.unsafe - 1);
      // The last response may refuse the incomplete request that would begin next.
      if (state.atEnd !== undefined && areCompleteAnswered(state)) state.atEnd();
      // Requests that have not begun by the time the connection closes are never processed.
      else if (!closing && !draining && !state.isOver) beginNext(state);
      if (state.isHeld && !closing && unanswered(state) < MAX_UNANSWERED / 2) readAgain(socket, state);
    },
    atEnd(socket, respond) {
      const state = connections.get(socket);
      if (state === undefined) return respond();
      if (state.atEnd !== undefined) return;
      state.atEnd = () => {
        if (state.isOver) return;
        state.isOver = true;
        state.refused = state.newest;
        respond();
        endOnceSent(socket);
      };
      if (areCompleteAnswered(state)) state.atEnd();
    },
    arriving(socket) {
      const newest = connections.get(socket)?.newest;
      return newest?.complete === false ? newest : undefined;
    },
    excuses(socket, refuse) {
      const state = connections.get(socket);
      if (state?.isHeld !== true) return false;
      state.late = { body: requests.arriving(socket), refuse };
      return true;
    },
    handOver: (request) => void handedOver.add(request),
  };
  app.addHook("onRequest", ({ raw }, reply, done) => {
    if (!requests.take(raw)) return void reply.hijack();
    // The framework mistakes a request that was passed on for one that arrived late, and would close the connection
    // before the responses behind it.
    if (closing) reply.raw.removeHeader("connection");
    done();
  });
  app.addHook("preHandler", ({ raw }, reply, done) => {
    if (connections.get(raw.socket)?.refused === raw) return void reply.hijack();
    done();
  });
  app.addHook("onSend", ({ raw }, reply, _payload, done) => {
    if (requests.endsWith(raw)) void reply.header("connection", "close");
    const state = connections.get(raw.socket);
    if (state !== undefined && !raw.complete && reply.getHeader("connection") === "close") {
      state.isOver = true;
      // Node calls this after the response. The client may still be sending the rest of the body.
      raw.socket.destroySoon = () => endOnceSent(raw.socket);
    }
    done();
  });
  app.addHook("onResponse", ({ raw }, _reply, done) => {
    requests.answered(raw);
    done();
  });
  app.addHook("preClose", (done) => {
    closing = true;
    handshakes.destroy();
    for (const [socket, { underWay }] of connections) {
      // Node calls this after a response that announces the end of the connection.
      socket.destroySoon = () => endGently(socket);
      if (underWay === 0) endGently(socket);
    }
    done();
  });
  // This is called when the server closes, and would cut off responses that have been written but not sent.
  app.server.closeIdleConnections = () => undefined;
  return requests;
}

/**
 * Enforces the order of requests on each connection before any other listener runs. Must be called after the last
 * listener has been added.
 */
export function beginInOrder({ server }: FastifyInstance, connections: Connections): void {
  const listeners = server.listeners("request") as RequestListener[];
  server.removeAllListeners("request");
  // By default, Node drops header lines beyond the first 2,000, even an If-Match. The total size of headers is limited
  // anyway.
  server.maxHeadersCount = 0;
  server.on("request", (request, response) => {
    toOriginForm(request);
    connections.inOrder(request, () => listeners.forEach((listener) => listener(request, response)));
  });
}
