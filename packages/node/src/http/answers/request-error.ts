import { CairnError, type ErrorCode } from "@cairn/kv";

/** The code of a request that cannot be understood or obeyed because of its address, a parameter, a header or a cursor. */
export const BAD_REQUEST: ErrorCode = "REQUEST_INVALID";

/**
 * The HTTP statuses of error codes; all others have 500. Failures from which a cluster may recover have 503, so that
 * clients and load balancers try again.
 */
const STATUS_BY_CODE: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  METHOD_NOT_ALLOWED: 405,
  LOG_READ_ONLY: 405,
  TX_INVALID: 400,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  CHECKPOINT_NOT_FOUND: 404,
  CONFLICT: 409,
  CHECKPOINT_RUNNING: 409,
  WATCH_COMPACTED: 410,
  TX_TOO_LARGE: 413,
  NOT_READY: 503,
  INDEX_CORRUPT: 503,
  LOG_UNREACHABLE: 503,
  LOG_REGRESSED: 503,
  LOG_DIFFERENT: 503,
  LOG_TRIMMED: 503,
  LOG_GAP: 503,
  STORE_UNREACHABLE: 503,
  SYSTEM_REFUSED: 503,
  TX_TIMEOUT: 504,
  LOG_FULL: 507,
  STORE_FULL: 507,
  DISK_FULL: 507,
};

/** Returns the HTTP status of an error code. */
export function statusOf(code: ErrorCode): number {
  return STATUS_BY_CODE[code] ?? 500;
}

/** An error whose response has a status other than its code's, additional fields (`details`, next to `error` in the body), or headers. */
export class RequestError extends CairnError {
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      status?: number;
      hint?: string | undefined;
      cause?: unknown;
      details?: Readonly<Record<string, unknown>>;
      headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    const { hint, ...rest } = options;
    super(code, message, { ...rest, ...(hint === undefined ? {} : { hint }) });
    this.status = options.status ?? statusOf(code);
    this.details = options.details ?? {};
    this.headers = options.headers ?? {};
  }
}

/** Returns the 400 for a request that cannot be understood. */
export function badRequest(message: string, hint?: string): RequestError {
  return new RequestError(BAD_REQUEST, message, { hint });
}

/** Returns the 400 for a body that cannot be stored. */
export function badBody(message: string, hint?: string): RequestError {
  return new RequestError("TX_INVALID", message, { hint });
}

/** Returns the 405 for an address that does not take this method. */
export function methodNotAllowed(method: string, path: string, allowed: readonly string[]): RequestError {
  return new RequestError(
    "METHOD_NOT_ALLOWED",
    `${method} is not allowed for ${path}; allowed: ${allowed.join(", ")}.`,
    {
      hint: "GET /openapi.json lists all addresses with their methods.",
      headers: { allow: allowed.join(", ") },
    },
  );
}

/** Returns a 413 with the limit, both in the message and as a number. */
export function bodyTooLarge(what: string, limit: number): RequestError {
  return new RequestError("TX_TOO_LARGE", `${what} is larger than ${limit} bytes.`, {
    hint: "Split it into several transactions, or raise max-body of the HTTP server.",
    details: { limit },
  });
}

/** Returns the 415 for a compressed body. */
export function unsupportedEncoding(encoding: string): RequestError {
  return new RequestError(
    BAD_REQUEST,
    `Bodies must be sent unencoded, not with Content-Encoding: ${encoding}.`,
    {
      status: 415,
      hint: "Send it without Content-Encoding.",
      headers: { "accept-encoding": "identity" },
    },
  );
}

/** Returns the 415 for a body that is not JSON. */
export function unsupportedMediaType(): RequestError {
  return new RequestError(BAD_REQUEST, "A body must be JSON.", {
    status: 415,
    hint: "Send Content-Type: application/json.",
  });
}

/** Returns the 415 for a batch whose body is not NDJSON. */
export function linesExpected(): RequestError {
  return new RequestError(BAD_REQUEST, "A batch must be NDJSON: one transaction per line.", {
    status: 415,
    hint: "Send Content-Type: application/x-ndjson (curl --data-binary @FILE).",
  });
}
