import type { IncomingMessage, RequestListener } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { toOriginForm } from "./requests/address.ts";
import type { UnsentResponses } from "./answers/unsent-responses.ts";

interface ConnectionState {
  /** The request that has been accepted but not yet answered. */
  current?: IncomingMessage | undefined;
  /** The requests that are waiting for it. */
  readonly waiting: (() => void)[];
  /** The request that arrived last, until it is answered. Its body may be incomplete. */
  newest?: IncomingMessage | undefined;
  /** Responds to bytes behind all complete requests that are not a request. */
  atEnd?: () => void;
  /** Whether nothing is read because too many requests have not been answered. */
  isHeld: boolean;
  /** Ends the connection if nothing is answered while nothing is read. */
  abandoned?: NodeJS.Timeout | undefined;
  /** What has come too late while the node did not read it: `body` is the incomplete body, unless headers are incomplete. */
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
   * Calls `begin` once all earlier requests of the connection have been answered and their responses have been sent.
   * Pipelined requests would be allowed to run concurrently if none of them changes anything (RFC 9112, 9.3.2), but then
   * a client could make the node hold any number of responses.
   */
  inOrder(request: IncomingMessage, begin: () => void): void;
  /** May be called repeatedly. Returns false if the request gets no response because its connection closes first. */
  take(request: IncomingMessage): boolean;
  /** Whether every connection closes after its next response. If it does, the response must announce that. */
  readonly areEnding: boolean;
  /** Records that the response to a request has been sent. */
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
   * Returns whether the node does not read the rest of a request, so that it is not the client's fault if the rest does
   * not arrive in time. In that case, `refuse` is called if it does not arrive within the time limit after the node
   * begins to read it.
   */
  excuses(socket: Socket, refuse: () => void): boolean;
}

/** The limit on the connections of a server. */
export interface ConnectionLimit {
  /** Each additional connection replaces the oldest idle one. Defaults to no limit. */
  readonly maxConnections: number | undefined;
  /** Called for each connection that is refused or closed because of the limit. */
  readonly onReached: () => void;
  /** Whether a connection begins with a TLS handshake. Defaults to false. */
  readonly isEncrypted?: boolean;
  /** The time that a request may take to arrive (ms). */
  readonly requestTimeoutMs: number;
  /**
   * The time after which a connection from which nothing is read ends if no response can be sent on it (ms). Its client
   * may have gone, which only reading would show.
   */
  readonly goneAfterMs: number;
  /** Learns which responses have been sent, and which never will be. */
  readonly unsent: UnsentResponses;
}

function firstIdle(connections: ReadonlyMap<Socket, ConnectionState>): Socket | undefined {
  for (const [socket, { current }] of connections) if (current === undefined) return socket;
  return undefined;
}

/** Begins the waiting requests in order, as long as the next one may begin. */
function beginNext(state: ConnectionState): void {
  while (state.current === undefined) {
    const begin = state.waiting.shift();
    if (begin === undefined) return;
    begin();
  }
}

/**
 * The number of unanswered requests of a connection beyond which nothing more is read from it. Without a limit, a client
 * could fill the memory with requests that take long, because nothing else slows it down: Node stops reading only
 * because of bodies that are not read and responses that are not received. All requests in the bytes that have been read
 * (at most 64 KiB at a time) are accepted, so their number may be larger.
 */
const MAX_UNANSWERED = 100;

function unanswered({ current, waiting }: ConnectionState): number {
  return (current === undefined ? 0 : 1) + waiting.length;
}

/** Returns whether all requests have been answered, except one that has not arrived completely. */
function areCompleteAnswered(state: ConnectionState): boolean {
  const incomplete = state.newest?.complete === false ? 1 : 0;
  return unanswered(state) === incomplete;
}

/** The time for which to keep reading from a client that does not close its side or never stops sending (ms). */
const LINGER_MS = 500;

/** Keeps reading for a moment: closing with unread bytes resets a connection, which hides the pending responses. */
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
 * Makes a TLS connection keep decrypted bytes while it is paused. By default, Node's parser gets them directly, even
 * then, and refuses them (HPE_PAUSED). With a listener for data, they pass through the stream, which keeps them, but
 * that costs time, so the listener is only added before the first pause. Once reading has stopped, it would be too late.
 */
function keepBytesWhilePaused(socket: Socket): void {
  const { pause } = socket;
  socket.pause = () => {
    socket.pause = pause;
    socket.on("data", () => undefined);
    return socket.pause();
  };
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
    goneAfterMs,
    unsent,
  }: ConnectionLimit,
): Connections {
  const handshakes = new Handshakes();
  const connections = new Map<Socket, ConnectionState>();
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
    const state: ConnectionState = { waiting: [], isHeld: false, isOver: false };
    connections.set(socket, state);
    socket.once("close", () => {
      connections.delete(socket);
      clearTimeout(state.grace);
      clearTimeout(state.abandoned);
      if (state.current !== undefined) unsent.release(state.current);
    });
    // Node resumes reading after each request, even if it was paused.
    socket.on("resume", () => {
      if (state.isHeld && !socket.writableEnded) socket.pause();
    });
  };
  const hold = (socket: Socket, state: ConnectionState): void => {
    state.isHeld = true;
    state.abandoned = setTimeout(() => socket.destroy(), goneAfterMs);
    socket.pause();
    // Node calls this after a response that announces the end of the connection. Many bytes may be unread.
    socket.destroySoon = () => endOnceSent(socket);
  };
  const readAgain = (socket: Socket, state: ConnectionState): void => {
    state.isHeld = false;
    clearTimeout(state.abandoned);
    socket.resume();
  };
  /** Gives what has come too late time to arrive, once the node reads it. */
  const endExcuse = (state: ConnectionState): void => {
    const { late } = state;
    if (late === undefined || state.isHeld || state.waiting.length > 0) return;
    state.late = undefined;
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
    keepBytesWhilePaused(socket);
  });
  // There is no way to respond before the handshake has succeeded.
  app.server.prependListener("tlsClientError", (_error: Error, socket: Socket) => void socket.destroy());
  const requests: Connections = {
    drain: () => void (draining = true),
    inOrder(request, begin) {
      const { socket } = request;
      const state = connections.get(socket);
      if (state === undefined) return void begin();
      if (state.isOver || closing) return;
      state.newest = request;
      clearTimeout(state.grace);
      if (state.waiting.length === 0 && state.current === undefined) begin();
      else state.waiting.push(begin);
      if (!state.isHeld && unanswered(state) > MAX_UNANSWERED) hold(socket, state);
    },
    take(request) {
      const { socket } = request;
      const state = connections.get(socket);
      if (state?.current === request) return true;
      if (closing) return false;
      if (state !== undefined) state.current = request;
      // The time limit for receiving the response before it does not apply to this request.
      if (socket.timeout !== undefined && socket.timeout > 0) socket.setTimeout(0);
      return true;
    },
    get areEnding() {
      return closing || draining;
    },
    answered(request) {
      unsent.release(request);
      const { socket } = request;
      const state = connections.get(socket);
      if (state === undefined) return;
      if (state.newest === request) state.newest = undefined;
      if (closing && state.current === request) endGently(socket);
      if (state.current === request) state.current = undefined;
      state.abandoned?.refresh();
      // The last response may refuse the incomplete request that would begin next.
      if (state.atEnd !== undefined && areCompleteAnswered(state)) state.atEnd();
      // Requests that have not begun by the time the connection closes are never processed.
      else if (!closing && !draining && !state.isOver) beginNext(state);
      if (state.isHeld && !closing && unanswered(state) < MAX_UNANSWERED / 2) readAgain(socket, state);
      endExcuse(state);
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
      if (state === undefined) return false;
      const body = requests.arriving(socket);
      // The body of a request that has not begun is not read.
      const isWaiting = body !== undefined && state.waiting.length > 0;
      if (!state.isHeld && !isWaiting) return false;
      state.late = { body, refuse };
      return true;
    },
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
    if (requests.areEnding) void reply.header("connection", "close");
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
    for (const [socket, { current }] of connections) {
      // Node calls this after a response that announces the end of the connection.
      socket.destroySoon = () => endGently(socket);
      if (current === undefined) endGently(socket);
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
