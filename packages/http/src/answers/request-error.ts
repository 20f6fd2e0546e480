import { CairnError, type ErrorCode } from "@cairn/kv";
import { REQUESTS_DESCRIBED } from "@cairn/text";

/** The code for a request that its address, a parameter, a header or a cursor makes impossible to fulfil. */
export const BAD_REQUEST: ErrorCode = "REQUEST_INVALID";

/** HTTP statuses of error codes, otherwise 500. It is 503 if a cluster may recover, so that clients try again. */
const STATUS_BY_CODE: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  METHOD_NOT_ALLOWED: 405,
  LOG_READ_ONLY: 405,
  TX_INVALID: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CHECKPOINT_NOT_FOUND: 404,
  CONFLICT: 409,
  CHECKPOINT_RUNNING: 409,
  WATCH_COMPACTED: 410,
  OUTCOME_REMOVED: 410,
  TX_TOO_LARGE: 413,
  // A client that sends such a query again would only occupy the node again.
  QUERY_LIMIT: 422,
  NOT_READY: 503,
  OVERLOADED: 503,
  OWN_INDEX_FAILED: 503,
  INDEX_CORRUPT: 503,
  LOG_UNREACHABLE: 503,
  LOG_REGRESSED: 503,
  LOG_DIFFERENT: 503,
  LOG_TRIMMED: 503,
  LOG_GAP: 503,
  LOG_VERSION: 503,
  STORE_UNREACHABLE: 503,
  SYSTEM_REFUSED: 503,
  TX_TIMEOUT: 504,
  LOG_FULL: 507,
  STORE_FULL: 507,
  DISK_FULL: 507,
};

export function statusOf(code: ErrorCode): number {
  return STATUS_BY_CODE[code] ?? 500;
}

/** An error whose response has additional headers or fields (`details`), or an unusual status for its code. */
export class RequestError extends CairnError {
  readonly status: number;
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
    super(code, message, options);
    this.status = options.status ?? statusOf(code);
    this.headers = options.headers ?? {};
  }
}

export function badRequest(message: string, hint = REQUESTS_DESCRIBED): RequestError {
  return new RequestError(BAD_REQUEST, message, { hint });
}

/** Ends the work on a request whose client is gone. No response is sent. */
export const DISCONNECTED = badRequest("The client has closed the connection.");

/** A body that cannot be stored. */
export function badBody(message: string, hint = REQUESTS_DESCRIBED): RequestError {
  return new RequestError("TX_INVALID", message, { hint });
}

export function bodyTooLarge(what: string, limit: number): RequestError {
  return new RequestError("TX_TOO_LARGE", `${what} is larger than ${limit} bytes.`, {
    hint: "Send a smaller body, such as several transactions instead of one, or raise max-body of the HTTP server.",
    details: { limit },
  });
}

/** A body with a media type or an encoding that the route does not accept. */
export function unsupported(
  message: string,
  hint: string,
  headers: Record<string, string> = {},
): RequestError {
  return new RequestError(BAD_REQUEST, message, { status: 415, hint, headers });
}
