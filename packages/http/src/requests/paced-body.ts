import type { IncomingMessage } from "node:http";
import { closeAfterAnswer } from "../answers/unread-body.ts";
import { BAD_REQUEST, RequestError } from "../answers/request-error.ts";

/** The bodies that are read as {@link PacedBody}, also after the reading has ended, until the route responds. */
const bodies = new WeakMap<IncomingMessage, PacedBody>();

/** The bytes that must arrive within the limit: otherwise an occasional byte would hold a connection forever. */
const PART_BYTES = 64 * 1024;

/**
 * A body of any length, read only as fast as the node processes it. The server's limit on the whole request would count
 * the time for which the node keeps the client waiting, so the node waits for each 64 KiB for at most `limitMs` in
 * total. Throws a {@link RequestError} if the client exceeds this, or sends something that is not a part of a body; the
 * route then responds with what it has processed, and processes nothing more.
 */
export class PacedBody implements AsyncIterable<Buffer> {
  readonly #request: IncomingMessage;
  readonly #limitMs: number;
  #leftMs: number;
  #partBytes = 0;
  #refusal: RequestError | undefined;
  #interrupt: ((refusal: RequestError) => void) | undefined;

  constructor(request: IncomingMessage, limitMs: number) {
    this.#request = request;
    this.#limitMs = limitMs;
    this.#leftMs = limitMs;
    bodies.set(request, this);
  }

  /** Makes the iteration throw `refusal` instead of reading on. */
  refuse(refusal: RequestError): void {
    // The rest would be read without a limit otherwise, or cannot be read at all.
    closeAfterAnswer(this.#request);
    this.#refusal ??= refusal;
    this.#interrupt?.(this.#refusal);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    // The connection must not be destroyed if the loop ends early, because it is needed for the response.
    const chunks = this.#request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
    try {
      for (;;) {
        const { value, done } = await this.#next(chunks);
        if (done === true) return;
        yield value;
      }
    } finally {
      // An interrupted read ends with the next bytes, which may never arrive, so this is not awaited.
      void chunks.return?.();
    }
  }

  async #next(chunks: AsyncIterator<Buffer>): Promise<IteratorResult<Buffer>> {
    if (this.#refusal !== undefined) throw this.#refusal;
    const begin = performance.now();
    let timer: NodeJS.Timeout | undefined;
    let lastRead: NodeJS.Immediate | undefined;
    const interrupted = new Promise<never>((_, reject) => {
      this.#interrupt = reject;
      // After a stall of the event loop, the timer runs before the sockets are read, so they are read once more.
      const atLimit = (): void => void (lastRead = setImmediate(() => this.refuse(TOO_SLOW)));
      timer = setTimeout(atLimit, this.#leftMs);
    });
    try {
      const next = await Promise.race([chunks.next(), interrupted]);
      if (next.done !== true) this.#count(next.value.length, performance.now() - begin);
      return next;
    } finally {
      this.#interrupt = undefined;
      clearTimeout(timer);
      clearImmediate(lastRead);
    }
  }

  #count(bytes: number, waitedMs: number): void {
    this.#partBytes += bytes;
    this.#leftMs -= waitedMs;
    if (this.#partBytes < PART_BYTES) return;
    this.#partBytes = 0;
    this.#leftMs = this.#limitMs;
  }
}

const TOO_SLOW = new RequestError(BAD_REQUEST, "The rest of the batch did not arrive in time.", {
  status: 408,
  hint: "Send the batch again beginning with this line, and with its number as first-line. The lines before it are stored.",
});

/** Returns the body of a request that a route reads as {@link PacedBody}; undefined if it reads it differently. */
export function pacedBody(request: IncomingMessage): PacedBody | undefined {
  return bodies.get(request);
}
