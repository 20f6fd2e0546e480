import { CairnError } from "@cairn/kv";
import type { FastifyRequest } from "fastify";

/** What the server tells about failures that are its own. */
export interface HttpLogger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

/** Failures of one cause since they were told last. */
interface Told {
  readonly message: string;
  readonly fields: object;
  count: number;
  readonly timer: NodeJS.Timeout;
}

const EVERY_MS = 60_000;
/** Told apart. More are hardly more causes, but one with something else in each message. */
const MOST_CAUSES = 100;

/**
 * Tells requests that failed for the node's sake, in a line for each cause: the first at once, those that follow once a minute with how
 * many they were. The stack of each is told at `debug`; of an error that nobody knows it stands in the line, since it is all there is to go by.
 */
export class FailedRequests {
  readonly #logger: HttpLogger;
  readonly #told = new Map<string, Told>();

  constructor(logger: HttpLogger) {
    this.#logger = logger;
  }

  /** One failed with `error`, or, when that is no CairnError, unexpectedly. */
  failed(
    error: unknown,
    { method, url, id: requestId }: Pick<FastifyRequest, "method" | "url" | "id">,
  ): void {
    const request = { method, url, requestId };
    const isKnown = error instanceof CairnError;
    const code = isKnown ? error.code : "INTERNAL";
    const message = isKnown ? error.message : "A request failed unexpectedly.";
    const own = isKnown ? { code, hint: error.hint } : { code, err: error };
    const cause = this.#causeOf(isKnown ? code : `${code} ${String(error)}`);
    const known = this.#told.get(cause);
    if (isKnown || known !== undefined) {
      this.#logger.debug({ code, err: error, ...request }, "what lies beneath");
    }
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    this.#logger.error({ ...own, ...request }, message);
    const timer = setTimeout(() => this.#tellMore(cause), EVERY_MS);
    timer.unref();
    this.#told.set(cause, {
      message,
      fields: isKnown ? own : { code, error: String(error) },
      count: 0,
      timer,
    });
  }

  /** Beyond so many, all others are one. */
  #causeOf(cause: string): string {
    return this.#told.has(cause) || this.#told.size < MOST_CAUSES ? cause : "others";
  }

  /** Tells those that were not told yet; nothing is told afterwards by itself. */
  close(): void {
    for (const cause of this.#told.keys()) this.#tellMore(cause, true);
  }

  #tellMore(cause: string, isLast = false): void {
    const told = this.#told.get(cause);
    if (told === undefined) return;
    const { message, fields, count, timer } = told;
    clearTimeout(timer);
    this.#told.delete(cause);
    // The next one after a minute without any is told at once again.
    if (count === 0) return;
    this.#logger.error(
      { ...fields, requests: count },
      `${count} more requests failed in a minute: ${message}`,
    );
    if (isLast) return;
    const next = setTimeout(() => this.#tellMore(cause), EVERY_MS);
    next.unref();
    this.#told.set(cause, { message, fields, count: 0, timer: next });
  }
}
