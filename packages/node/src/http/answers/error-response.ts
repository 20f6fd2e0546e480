import { CairnError, type ErrorCode } from "@cairn/kv";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { FailedRequests } from "./failed-requests.ts";
import { isHeldBack } from "./continue.ts";
import { drainBody } from "./drain-body.ts";
import { errorForm, type ErrorParts, VARY_ACCEPT } from "./problem.ts";
import { varyBy } from "./vary.ts";

/** The code of a request that cannot be understood or kept: its address, a parameter, a header, a cursor. */
export const BAD_REQUEST: ErrorCode = "REQUEST_INVALID";

/** Codes whose status is not 500. Those of a cluster that may recover are 503, so that clients and balancers try again. */
const STATUS_BY_CODE: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  METHOD_NOT_ALLOWED: 405,
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

/** An error whose status is not that of its code, or that tells more than its sentence (`details` stand beside `error` in the body). */
export class RequestError extends CairnError {
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      status?: number;
      hint?: string;
      cause?: unknown;
      details?: Readonly<Record<string, unknown>>;
      headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(code, message, options);
    this.status = options.status ?? statusOf(code);
    this.details = options.details ?? {};
    this.headers = options.headers ?? {};
  }
}

/** A request that cannot be understood: 400. */
export function badRequest(message: string, hint?: string): RequestError {
  return new RequestError(BAD_REQUEST, message, { status: 400, ...(hint === undefined ? {} : { hint }) });
}

/** A body from which nothing can be stored: 400. */
export function badBody(message: string, hint?: string): RequestError {
  return new RequestError("TX_INVALID", message, hint === undefined ? {} : { hint });
}

/** The status that goes with a code. */
export function statusOf(code: ErrorCode): number {
  return STATUS_BY_CODE[code] ?? 500;
}

/**
 * Answers any error as `{"error": {"code", "message", "hint"}}`, or as problem details (RFC 9457) to whoever prefers them; `failures` are
 * told those that are the node's own.
 */
export function errorHandler(failures: FailedRequests, maxBody: number) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    // Nothing unread is left of the body, so whatever was sent behind it can be answered too.
    void reply.removeHeader("connection");
    if (isHeldBack(request.raw)) void reply.header("connection", "close");
    else if (!request.raw.complete) drainBody(request.raw);
    const known = error instanceof CairnError ? error : frameworkError(error, maxBody);
    if (known === undefined) {
      // A client that went away while it sent its body is no fault of this node's.
      if (request.raw.errored !== null) return reply.code(400).send();
      failures.failed(error, request);
      return sendError(request, reply, 500, INTERNAL);
    }
    const status = known instanceof RequestError ? known.status : statusOf(known.code);
    if (status === 500) failures.failed(known, request);
    if (known instanceof RequestError) void reply.headers(known.headers);
    if (status === 401) void reply.header("www-authenticate", "Bearer");
    if (status === 503) void reply.header("retry-after", "1");
    return sendError(request, reply, status, partsOf(known));
  };
}

const INTERNAL = {
  code: "INTERNAL",
  message: "The node met an error of its own.",
  hint: "Its log has the details.",
};

function partsOf(error: CairnError): ErrorParts {
  const { code, message, hint = null } = error;
  return { code, message, hint, ...(error instanceof RequestError ? { details: error.details } : {}) };
}

function sendError(
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  parts: ErrorParts,
): FastifyReply {
  const { type, body } = errorForm(request.raw, request.id, status, parts);
  varyBy(reply, VARY_ACCEPT);
  return reply.code(status).type(type).send(body);
}

/** Fastify's own refusals in our words; undefined for anything that is not one. */
function frameworkError(error: unknown, maxBody: number): CairnError | undefined {
  if (!isFastifyError(error)) return undefined;
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return tooLarge("The body", maxBody);
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return unsupportedMediaType();
    case "FST_ERR_BAD_URL":
      return badRequest(
        "The address has a malformed percent escape.",
        "Write a literal % as %25, and other characters as the escapes of their UTF-8 bytes.",
      );
    default:
      return error.statusCode !== undefined && error.statusCode < 500
        ? badRequest(`The request cannot be read: ${error.message}.`)
        : undefined;
  }
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && "code" in error && String(error.code).startsWith("FST_");
}

/** 413, with the limit in words and as a number. */
export function tooLarge(what: string, limit: number): RequestError {
  return new RequestError("TX_TOO_LARGE", `${what} is larger than ${limit} bytes.`, {
    hint: "Split it into several transactions, or raise max-body of the HTTP server.",
    details: { limit },
  });
}

/** 415 for a body that is compressed. */
export function unsupportedEncoding(encoding: string): RequestError {
  return new RequestError(BAD_REQUEST, `Bodies are taken as they are, not in the encoding ${encoding}.`, {
    status: 415,
    hint: "Send it without Content-Encoding.",
    headers: { "accept-encoding": "identity" },
  });
}

/** 415. */
export function unsupportedMediaType(): RequestError {
  return new RequestError(BAD_REQUEST, "A body must be JSON.", {
    status: 415,
    hint: "Send Content-Type: application/json.",
  });
}

/** 415 where lines are expected. */
export function linesExpected(): RequestError {
  return new RequestError(BAD_REQUEST, "A batch is NDJSON: one transaction a line.", {
    status: 415,
    hint: "Send Content-Type: application/x-ndjson (curl --data-binary @FILE).",
  });
}
