import { type IncomingMessage, STATUS_CODES } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { FailedRequests } from "./failed-requests.ts";
import { JSON_TYPE, jsonAnswer } from "./json-answer.ts";
import { accepted, varyBy } from "./negotiation.ts";
import { badRequest, bodyTooLarge, RequestError, statusOf, unsupportedMediaType } from "./request-error.ts";
import { closesAfterAnswer, drainBody, isHeldBack } from "./unread-body.ts";

interface ErrorParts {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | null | undefined;
  /** Additional fields next to `error` in the body. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The media type of problem details (RFC 9457). */
export const PROBLEM_TYPE = "application/problem+json";
const PLAIN_TYPE = "application/json";

/** The request header that the Vary header of every error response names. */
export const VARY_ACCEPT = "accept";

/** Sends `{"error":{"code","message","hint"}}`, or problem details (RFC 9457) if asked. Reports 500s to `failures`. */
export function errorHandler(failures: FailedRequests, maxBody: number) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    // The rest of the body is read, so that the requests after it can also be answered.
    void reply.removeHeader("connection");
    if (isHeldBack(request.raw)) void reply.header("connection", "close");
    else if (!request.raw.complete) {
      if (closesAfterAnswer(request.raw)) void reply.header("connection", "close");
      drainBody(request.raw);
    }
    const known = error instanceof CairnError ? error : frameworkError(error, maxBody);
    if (known === undefined) {
      // A client that disconnected while it was sending its body is not a failure of this node.
      if (request.raw.errored !== null) return reply.code(400).send();
      failures.failed(error, request);
      return sendError(request, reply, 500, INTERNAL);
    }
    const isRead = READ_METHODS.includes(request.method);
    const status = known.code === "LOG_READ_ONLY" && isRead ? MISDIRECTED : ownStatus(known);
    if (status === 500) failures.failed(known, request);
    if (known instanceof RequestError) void reply.headers(known.headers);
    if (status === 405 && known.code === "LOG_READ_ONLY")
      void reply.header("allow", readMethods(request).join(", "));
    if (status === 401) void reply.header("www-authenticate", "Bearer");
    if (status === 503) void reply.header("retry-after", "1");
    return sendError(request, reply, status, known);
  };
}

/** The methods that read the address of a request: none for addresses that only accept transactions. */
function readMethods({ server, routeOptions: { url = "" } }: FastifyRequest): string[] {
  return READ_METHODS.filter((method) => server.hasRoute({ method, url }));
}

function ownStatus(error: CairnError): number {
  return error instanceof RequestError ? error.status : statusOf(error.code);
}

const READ_METHODS = ["GET", "HEAD"];
/** The status of reads that require a node with access to the log itself. */
const MISDIRECTED = 421;

const INTERNAL: ErrorParts = {
  code: "INTERNAL",
  message: "An internal error occurred.",
  hint: "Look up the details in the node's log.",
};

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

/** Returns the media type and the body of an error in the form that the request accepts. */
export function errorForm(
  request: Pick<IncomingMessage, "headers" | "url">,
  requestId: string,
  status: number,
  { code, message, hint = null, details }: ErrorParts,
): { readonly type: string; readonly body: string } {
  if (!prefersProblem(request.headers.accept)) {
    return { type: JSON_TYPE, body: jsonAnswer({ error: { code, message, hint }, ...details }) };
  }
  const body = {
    // `code` is more specific than any type could be.
    type: "about:blank",
    title: STATUS_CODES[status] ?? "Error",
    status,
    detail: message,
    instance: `${escapedPath(request.url ?? "/")}#${requestId}`,
    code,
    hint,
    ...details,
  };
  return { type: `${PROBLEM_TYPE}; charset=utf-8`, body: jsonAnswer(body) };
}

/**
 * Returns whether to send problem details. The client must name them with a greater weight than JSON, or with at least
 * the weight of a range that includes JSON. A client that names both with the same weight, as generated clients do,
 * gets the usual form.
 */
export function prefersProblem(accept: string | undefined): boolean {
  if (accept === undefined || !/problem/i.test(accept)) return false;
  const ranges = accepted(accept);
  const weight = (range: string): number | undefined => ranges.find(({ name }) => name === range)?.q;
  const problem = weight(PROBLEM_TYPE) ?? 0;
  if (problem === 0) return false;
  const plain = weight(PLAIN_TYPE);
  if (plain !== undefined) return problem > plain;
  return problem >= (weight("application/*") ?? weight("*/*") ?? 0);
}

/** Returns the path of a request, in which the characters that a URI reference must not contain are escaped. */
function escapedPath(url: string): string {
  const end = url.search(/[?#]/);
  return (end < 0 ? url : url.slice(0, end)).replaceAll(/[^\w!$&'()*+,./:;=@~%-]/g, encodeURIComponent);
}

/** Translates the framework's own errors into Cairn's errors. Returns undefined for other errors. */
function frameworkError(error: unknown, maxBody: number): CairnError | undefined {
  if (!isFastifyError(error)) return undefined;
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return bodyTooLarge("The body", maxBody);
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
