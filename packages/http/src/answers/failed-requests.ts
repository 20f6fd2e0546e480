import { CairnError } from "@cairn/kv";
import type { IncomingMessage } from "node:http";
import { type HttpAnswer, jsonText } from "./answer.ts";
import { RequestError, statusOf } from "./request-error.ts";
import { closesAfterAnswer, drainBody, isHeldBack } from "./unread-body.ts";

export interface HttpLogger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

export interface LoggedRequest {
  readonly method: string;
  readonly url: string;
  readonly id: string;
}

const LOG_INTERVAL_MS = 60_000;
/** If there are more, most of them are probably the same cause with varying messages. */
const MAX_CAUSES = 100;

/**
 * Logs internal failures of requests by cause: the first one immediately, the number of later ones once a minute. Stack
 * traces are logged at `debug`, that of an unknown error in the message, because there is no other clue.
 */
export class FailedRequests {
  readonly #logger: HttpLogger;
  /** By cause: the failures that have occurred since the last log line about it. */
  readonly #causes = new Map<string, { readonly message: string; readonly fields: object; count: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(logger: HttpLogger) {
    this.#logger = logger;
  }

  /** Records that a request failed with `error`, which is unexpected unless it is a CairnError. */
  failed(error: unknown, { method, url, id: requestId }: LoggedRequest): void {
    const request = { method, url, requestId };
    const isKnown = error instanceof CairnError;
    const code = isKnown ? error.code : "INTERNAL";
    const message = isKnown ? error.message : "A request failed unexpectedly.";
    const own = isKnown ? { code, hint: error.hint } : { code, err: error };
    const cause = isKnown ? code : `${code} ${String(error)}`;
    // Beyond the limit, all additional causes count as one.
    const name = this.#causes.has(cause) || this.#causes.size < MAX_CAUSES ? cause : "others";
    const known = this.#causes.get(name);
    if (isKnown || known !== undefined) {
      this.#logger.debug({ code, err: error, ...request }, "stack trace of a failed request");
    }
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    this.#logger.error({ ...own, ...request }, message);
    this.#causes.set(name, { message, fields: isKnown ? own : { code, error: String(error) }, count: 0 });
    this.#timer ??= setInterval(() => this.#logCounts(), LOG_INTERVAL_MS).unref();
  }

  /** Logs the failures that have not been logged yet, and stops the timer. */
  close(): void {
    clearInterval(this.#timer);
    this.#logCounts();
  }

  #logCounts(): void {
    for (const [name, cause] of this.#causes) {
      const { message, fields, count } = cause;
      cause.count = 0;
      // If no more were counted until this timer, the next one is again logged immediately.
      if (count === 0) this.#causes.delete(name);
      else
        this.#logger.error(
          { ...fields, requests: count },
          `${count} more requests failed within a minute: ${message}`,
        );
    }
  }
}

/**
 * Returns the response for an error, and reports status 500 to `failures`. `methods` are those of the address, and
 * `completed` completes its hint.
 */
export function errorAnswer(
  error: unknown,
  call: LoggedRequest & { readonly request: IncomingMessage },
  methods: { has(method: string): boolean },
  failures: FailedRequests,
  completed: (hint: string) => string,
): HttpAnswer {
  const { request, method } = call;
  const headers: Record<string, string> = {};
  // The rest of the body is read, so that the requests after it can also be answered.
  if (isHeldBack(request)) headers["connection"] = "close";
  else if (!request.complete) {
    if (closesAfterAnswer(request)) headers["connection"] = "close";
    drainBody(request);
  }
  const isRead = READ_METHODS.includes(method);
  const known = error instanceof CairnError ? error : undefined;
  // A client that disconnected while it was sending its body is not a failure of this node.
  if (known === undefined && request.errored !== null) return { status: 400 };
  const own = known instanceof RequestError ? known.status : known === undefined ? 500 : statusOf(known.code);
  const status = known?.code === "LOG_READ_ONLY" && isRead ? MISDIRECTED : own;
  if (status === 500) failures.failed(error, call);
  if (known instanceof RequestError) Object.assign(headers, known.headers);
  // There are none for addresses that only accept transactions.
  if (status === 405 && known?.code === "LOG_READ_ONLY")
    headers["allow"] = READ_METHODS.filter((one) => methods.has(one)).join(", ");
  if (status === 401) headers["www-authenticate"] = "Bearer";
  // Where a body in an unknown coding ends is unknown as well.
  if (status === 501) headers["connection"] = "close";
  if (status === 503) headers["retry-after"] = "1";
  const { code, message, hint: given } = known ?? INTERNAL;
  const hint = given === undefined ? null : completed(given);
  const details = known?.details ?? {};
  return { status, headers, body: jsonText({ error: { code, message, hint }, ...details }) };
}

const READ_METHODS = ["GET", "HEAD"];
/** The status of reads that require a node with access to the log itself. */
const MISDIRECTED = 421;

const INTERNAL = {
  code: "INTERNAL",
  message: "An internal error occurred.",
  hint: "Look up the details in the node's log.",
};
