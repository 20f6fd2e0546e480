import { LIMITS } from "@cairn/client/protocol";
import type { IncomingMessage, ServerResponse } from "node:http";
import { CairnError } from "@cairn/kv";
import { DISCONNECTED } from "./request-error.ts";

/** The total size of what is reserved, and of the responses that have not been received (bytes). */
const MAX_BYTES = 64 * 1024 * 1024;
/** Reads of at most this never wait: a connection has one at most, and system buffers usually take the response. */
const SMALL_BYTES = 256 * 1024;
/** The largest reservation. No response may have to wait until all others have been received. */
const MAX_RESERVED_BYTES = MAX_BYTES / 4;
/** The time after which a client that is receiving its response may be disconnected because others need the memory (ms). */
const SLOW_AFTER_MS = 10_000;
/** The time after which a client that receives nothing is considered gone, by default (ms). */
export const GONE_AFTER_MS = 60_000;
const CHECK_INTERVAL_MS = 500;

interface Reserved {
  readonly sender: string;
  readonly bytes: number;
  /** The time from which the response has been ready to be sent; undefined while it is being built. */
  readonly readySince?: number;
}

interface Waiting {
  readonly sender: string;
  readonly bytes: number;
  readonly until: number;
  readonly begin: () => void;
  readonly refuse: (reason: CairnError) => void;
}

/**
 * The memory for the responses of a server, or for the bodies of its requests. A response may be thousands of times
 * longer than its request, and it remains in memory until its client has received it. Without a limit, clients that do
 * not read could therefore fill the memory, and so could many large transactions at once.
 *
 * Reads reserve the size that their responses may have, and writes what their bodies occupy once they are parsed. If the
 * memory is not free, they wait, and the sender with the least memory is next. While they wait, clients that have been
 * receiving their responses for more than 10 s are disconnected, the slowest first.
 */
export class RequestMemory {
  readonly #reserved = new Map<IncomingMessage, Reserved>();
  readonly #waiting = new Map<IncomingMessage, Waiting>();
  readonly goneAfterMs: number;
  readonly #onSlow: () => void;
  #bytes = 0;
  readonly #parts = new Map<string, number>();
  #check: NodeJS.Timeout | undefined;

  /**
   * Clients that receive nothing for `goneAfterMs` are disconnected. `onSlow` is called for each client that is
   * disconnected because others need the memory.
   */
  constructor(goneAfterMs: number, onSlow: () => void) {
    this.goneAfterMs = goneAfterMs;
    this.#onSlow = onSlow;
  }

  /**
   * Reserves memory for a request, instead of what it had. Returns undefined if the memory is free, else a promise that
   * resolves once it is, and rejects with `OVERLOADED` after `timeoutMs` (by default 30,000). `bytes` is the most that
   * the request may need; `exact` determines what it does need, which is done only if it would wait otherwise.
   */
  admit(
    request: IncomingMessage,
    bytes: number,
    timeoutMs: number = LIMITS.waitMs,
    exact?: () => Promise<number>,
  ): Promise<void> | undefined {
    this.#free(request);
    // No event would free its memory.
    if (request.socket.destroyed) return Promise.reject(DISCONNECTED);
    // Such a response is counted once it is ready, unless the system takes it at once.
    if (bytes <= SMALL_BYTES) return undefined;
    const wanted = Math.min(bytes, MAX_RESERVED_BYTES);
    const sender = senderOf(request, wanted);
    if (this.#waiting.size === 0 && this.#bytes + wanted <= MAX_BYTES) {
      this.#reserve(request, { sender, bytes: wanted });
      return undefined;
    }
    if (exact !== undefined) return exact().then((needed) => this.admit(request, needed, timeoutMs));
    return new Promise((begin, refuse) => {
      const until = performance.now() + timeoutMs;
      this.#waiting.set(request, { sender, bytes: wanted, until, begin, refuse });
      this.#check ??= setInterval(() => this.#disconnectSlow(), CHECK_INTERVAL_MS);
    });
  }

  /** Records the size of a response that is ready to be sent. The size is undefined if it is not known. */
  ready(request: IncomingMessage, bytes: number | undefined): void {
    const size = bytes ?? this.#reserved.get(request)?.bytes ?? 0;
    this.#free(request);
    if (request.socket.destroyed) return;
    this.#reserve(request, { sender: senderOf(request, size), bytes: size, readySince: performance.now() });
    this.#beginNext();
  }

  /** Frees the memory for a request whose response was sent, or whose connection has closed. */
  release(request: IncomingMessage): void {
    this.#free(request);
    const waiting = this.#waiting.get(request);
    if (waiting !== undefined) {
      this.#waiting.delete(request);
      waiting.refuse(DISCONNECTED);
    }
    this.#beginNext();
  }

  close(): void {
    clearInterval(this.#check);
  }

  #reserve(request: IncomingMessage, reserved: Reserved): void {
    const { sender, bytes } = reserved;
    this.#reserved.set(request, reserved);
    this.#bytes += bytes;
    this.#parts.set(sender, (this.#parts.get(sender) ?? 0) + bytes);
  }

  #free(request: IncomingMessage): void {
    const reserved = this.#reserved.get(request);
    if (reserved === undefined) return;
    const { sender, bytes } = reserved;
    this.#reserved.delete(request);
    this.#bytes -= bytes;
    const part = (this.#parts.get(sender) ?? 0) - bytes;
    if (part > 0) this.#parts.set(sender, part);
    else this.#parts.delete(sender);
  }

  #beginNext(): void {
    while (this.#waiting.size > 0) {
      const [request, { sender, bytes, begin }] = this.#next();
      if (this.#bytes + bytes > MAX_BYTES) return;
      this.#waiting.delete(request);
      this.#reserve(request, { sender, bytes });
      begin();
    }
    if (this.#check === undefined) return;
    clearInterval(this.#check);
    this.#check = undefined;
  }

  #next(): [IncomingMessage, Waiting] {
    let next: [IncomingMessage, Waiting] | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const entry of this.#waiting) {
      const part = this.#parts.get(entry[1].sender) ?? 0;
      if (part >= least) continue;
      next = entry;
      least = part;
    }
    return next as [IncomingMessage, Waiting];
  }

  /** Disconnects slow clients until the next waiting request can begin, and refuses those that have waited too long. */
  #disconnectSlow(): void {
    const now = performance.now();
    for (const [request, { until, refuse }] of this.#waiting) {
      if (now < until) continue;
      this.#waiting.delete(request);
      refuse(OVERLOADED);
    }
    let excess = this.#waiting.size === 0 ? 0 : this.#bytes + this.#next()[1].bytes - MAX_BYTES;
    // Responses are in the order in which they became ready.
    for (const [request, { bytes, readySince }] of this.#reserved) {
      if (excess <= 0) break;
      if (readySince === undefined || now - readySince < SLOW_AFTER_MS) continue;
      excess -= bytes;
      this.#onSlow();
      request.socket.destroy();
    }
    this.#beginNext();
  }
}

/** Returns what distinguishes the senders of requests for large responses, as far as it is known. */
function senderOf({ socket, headers }: IncomingMessage, bytes: number): string {
  if (bytes <= SMALL_BYTES) return "";
  return `${socket.remoteAddress} ${headers.authorization ?? ""}`;
}

const OVERLOADED = new CairnError(
  "OVERLOADED",
  "The node has no memory for the request until others have their responses.",
  "Try again later, with a smaller limit if the request has one, or with fewer operations. Nothing was changed. Clients must read the responses to their requests, or close their connections.",
);

/** While nothing of the response is ready, its client is not expected to receive anything. */
export function disconnectWhenGone(response: ServerResponse, ms: number): void {
  // The response reports the timeout only while the connection is its own.
  response.setTimeout(ms, () => {
    const { socket } = response;
    if (socket === null) return;
    if (socket.writableLength > 0) socket.destroy();
    else socket.setTimeout(ms);
  });
}
