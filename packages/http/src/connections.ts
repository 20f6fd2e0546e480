import { readFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

interface ConnectionState {
  /** The response to the request that has been accepted but not yet answered. */
  current?: ServerResponse | undefined;
  /** Begins the request that arrived while the whole response before it was on its way to the client. */
  next?: (() => void) | undefined;
  /** Whether the connection ends after the current response, so that nothing else that arrives is processed. */
  isEnding: boolean;
  /** Whether the last response has been sent in place of that to the current request, whose rest is not awaited. */
  isRefused: boolean;
}

export interface ConnectionLimits {
  /** Each additional connection replaces the oldest idle one. Defaults to no limit. */
  readonly maxConnections: number | undefined;
  /** Called for each idle connection that is closed because of the limit. */
  readonly onReached: () => void;
  /** Called for each new connection that is refused because of the limit: every other one has a request in progress. */
  readonly onRefused: () => void;
  /** Whether a connection begins with a TLS handshake. */
  readonly isEncrypted: boolean;
  /** Called for each request whose response has been sent, or never will be. */
  readonly release: (request: IncomingMessage) => void;
}

/** The time for which to keep reading from a client that does not close its side or never stops sending (ms). */
const LINGER_MS = 500;

/** Ends a connection once everything is sent, and reads on for a moment: closing with unread bytes would reset it. */
function endOnceSent(socket: Socket): void {
  if (socket.writableEnded) return;
  socket.end();
  if (socket.writableFinished) linger(socket);
  else socket.once("finish", () => linger(socket));
}

function linger(socket: Socket): void {
  discardAll(socket);
  // After a stall of the event loop, this timer runs before the sockets are read: they are read once more first.
  const timer = setTimeout(() => setImmediate(() => socket.destroy()), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
}

/** Reads and discards what arrives. There may be more of it than could be parsed in a short time. */
function discardAll(socket: Socket): void {
  socket.removeAllListeners("data");
  socket.on("data", () => undefined);
  socket.resume();
}

/**
 * Makes a TLS connection keep decrypted bytes while it is paused. Without a listener for data, Node's parser gets them
 * and refuses them (HPE_PAUSED). A listener costs time, so it is added just before the first pause; later is too late.
 */
function keepBytesWhilePaused(socket: Socket): void {
  const { pause } = socket;
  socket.pause = () => {
    socket.pause = pause;
    socket.on("data", () => undefined);
    return socket.pause();
  };
}

function remoteEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/**
 * The connections of a server and their requests in progress. A connection has one request at a time: a request that
 * arrives before the one before it was answered is not processed, and the connection ends after that response (RFC 9112,
 * 9.6). So nothing is executed out of order, or without a response, and no client can make the node hold any number of
 * responses.
 *
 * When the server closes, each connection ends once its request has been answered. Node's own close method would keep
 * connections with pending requests open for more requests until a timeout, and would cut off responses that have been
 * written but not sent.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #states = new Map<Socket, ConnectionState>();
  /** TLS handshakes in progress. The encrypted socket is another object, so both are identified by their remote end. */
  readonly #handshakes = new Map<string, Socket>();
  #isClosing = false;
  #isDraining = false;

  constructor(server: Server, limits: ConnectionLimits) {
    this.#limits = limits;
    server.on("connection", (socket: Socket) => {
      if (!this.#admit(socket)) return;
      if (limits.isEncrypted) this.#beginHandshake(socket);
      else this.#register(socket);
    });
    server.on("secureConnection", (socket: Socket) => {
      this.#handshakes.delete(remoteEnd(socket));
      if (this.#isClosing) return void socket.destroy();
      this.#register(socket);
      keepBytesWhilePaused(socket);
    });
    // There is no way to respond before the handshake has succeeded.
    server.prependListener("tlsClientError", (_error: Error, socket: Socket) => void socket.destroy());
    // This is called when the server closes, and would cut off responses that have been written but not sent.
    server.closeIdleConnections = () => undefined;
  }

  /** Makes every later response close its connection. New connections are still accepted. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Ends each connection once its request in progress has been answered. */
  close(): void {
    this.#isClosing = true;
    for (const socket of this.#handshakes.values()) socket.destroy();
    for (const [socket, { current }] of this.#states) if (current === undefined) endOnceSent(socket);
  }

  /**
   * Calls `begin` if the request may be processed: once this process knows that the previous response was sent, which
   * the client may know earlier.
   */
  accept(response: ServerResponse, begin: (response: ServerResponse) => void): void {
    const { socket } = response.req;
    const state = this.#states.get(socket);
    if (state === undefined || state.isEnding || this.#isClosing) return;
    if (state.current === undefined) {
      state.current = response;
      // The time limit for receiving the response before it does not apply to this request.
      if (socket.timeout !== undefined && socket.timeout > 0) socket.setTimeout(0);
      begin(response);
    } else if (state.current.writableEnded && state.next === undefined) {
      state.next = () => this.accept(response, begin);
    } else endAfterAnswer(socket, state);
  }

  /** Whether the response to a request must announce the end of the connection. */
  endsAfter({ socket }: IncomingMessage): boolean {
    return this.#isClosing || this.#isDraining || this.#states.get(socket)?.isEnding === true;
  }

  /** Makes the connection of a request end after its response. */
  endAfter({ socket }: IncomingMessage): void {
    const state = this.#states.get(socket);
    if (state !== undefined) state.isEnding = true;
  }

  /** Whether a request has got its response without being processed, because it did not arrive completely. */
  isRefused({ socket }: IncomingMessage): boolean {
    return this.#states.get(socket)?.isRefused === true;
  }

  answered({ req: request }: ServerResponse): void {
    this.#limits.release(request);
    const { socket } = request;
    const state = this.#states.get(socket);
    if (state === undefined) return;
    state.current = undefined;
    if (state.isEnding || this.#isClosing) return endOnceSent(socket);
    const { next } = state;
    state.next = undefined;
    next?.();
  }

  /** Returns the request whose body is arriving on a connection; undefined if there is none. */
  arriving(socket: Socket): IncomingMessage | undefined {
    const request = this.#states.get(socket)?.current?.req;
    return request?.complete === false ? request : undefined;
  }

  /**
   * Refuses what has arrived on a connection and is not a request, or an incomplete one: calls `respond`, and processes
   * nothing after that, not even the rest of an incomplete request, because its client may send it again. While a
   * complete request has no response yet, the client would take this one for it, so the connection ends after that.
   */
  refuse(socket: Socket, respond: () => void): void {
    const state = this.#states.get(socket);
    if (state?.isEnding === true) return;
    if (state?.current?.req.complete === true) return endAfterAnswer(socket, state);
    if (state !== undefined) {
      state.isEnding = true;
      state.isRefused = true;
    }
    respond();
    endOnceSent(socket);
  }

  #admit(socket: Socket): boolean {
    const { maxConnections = Number.POSITIVE_INFINITY, onReached, onRefused } = this.#limits;
    if (this.#isClosing) socket.destroy();
    else if (this.#states.size + this.#handshakes.size >= maxConnections) {
      // If every connection is busy, none is closed for the new one.
      const replaced = this.#oldestIdle();
      if (replaced === undefined) onRefused();
      else {
        onReached();
        this.#states.delete(replaced);
      }
      (replaced ?? socket).destroy();
    }
    return !socket.destroyed;
  }

  #oldestIdle(): Socket | undefined {
    for (const [socket, { current }] of this.#states) if (current === undefined) return socket;
    return undefined;
  }

  #beginHandshake(socket: Socket): void {
    const end = remoteEnd(socket);
    this.#handshakes.set(end, socket);
    socket.once("close", () => {
      if (this.#handshakes.get(end) === socket) this.#handshakes.delete(end);
    });
  }

  #register(socket: Socket): void {
    const state: ConnectionState = { isEnding: false, isRefused: false };
    this.#states.set(socket, state);
    // Node calls this after a response that announces the end of the connection. Many bytes may be unread.
    socket.destroySoon = () => endOnceSent(socket);
    socket.once("close", () => {
      this.#states.delete(socket);
      if (state.current !== undefined) this.#limits.release(state.current.req);
    });
  }
}

function endAfterAnswer(socket: Socket, state: ConnectionState): void {
  state.isEnding = true;
  state.next = undefined;
  // The parser still has the bytes that were read with this request.
  setImmediate(() => discardAll(socket));
}

/**
 * The number of open files reserved for everything except connections and LevelDB's open tables, which are counted
 * separately: write-ahead logs, manifests, locks, tables being written, captures, uploads, restores, threads, NATS and
 * stores.
 */
const RESERVED_FILES = 128;
/** The largest share of the limit that LevelDB uses for open tables that are not mapped into memory. */
const TABLES_SHARE = 1 / 5;
/** The share of the limit that is available to connections even if the limit is very low. */
const MIN_CONNECTIONS_SHARE = 1 / 4;

/** Returns how many connections leave the index enough files to open; undefined if there is no limit. */
export function connectionLimit(openFiles: number | undefined): number | undefined {
  if (openFiles === undefined) return undefined;
  const left = openFiles - Math.ceil(openFiles * TABLES_SHARE) - RESERVED_FILES;
  return Math.max(left, Math.floor(openFiles * MIN_CONNECTIONS_SHARE), 1);
}

/** The share of the connections that watches may occupy. The others are for requests that end, such as those of probes. */
const STREAMS_SHARE = 3 / 4;

export function streamLimit(maxConnections: number | undefined): number {
  return Math.floor((maxConnections ?? Number.POSITIVE_INFINITY) * STREAMS_SHARE);
}

/** Returns this process's limit on open files; undefined if there is none, or if the system does not report it. */
export function openFilesLimit(): number | undefined {
  try {
    // The file contains the current value, because Node raises the soft limit when it starts.
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    // This file exists only on Linux.
    const report = process.report.getReport() as {
      readonly userLimits?: { readonly open_files?: { readonly soft?: unknown } };
    };
    const soft = report.userLimits?.open_files?.soft;
    return typeof soft === "number" ? soft : undefined;
  }
}
