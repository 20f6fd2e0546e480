import { type IncomingMessage, STATUS_CODES } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FailedRequests, LoggedRequest } from "./failed-requests.ts";
import { type HttpAnswer, JSON_TYPE, jsonText } from "./answer.ts";
import { accepted } from "./compression.ts";
import { RequestError, statusOf } from "./request-error.ts";
import { closesAfterAnswer, drainBody, isHeldBack } from "./unread-body.ts";

interface FailedCall extends LoggedRequest {
  readonly request: IncomingMessage;
}

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

/**
 * Returns the response for an error: `{"error":{"code","message","hint"}}`, or problem details (RFC 9457) if asked.
 * `methods` are those that the address supports. Reports errors with status 500 to `failures`.
 */
export function errorAnswer(
  error: unknown,
  call: FailedCall,
  methods: { has(method: string): boolean },
  failures: FailedRequests,
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
  return { status, headers, ...errorForm(call, status, known ?? INTERNAL) };
}

const READ_METHODS = ["GET", "HEAD"];
/** The status of reads that require a node with access to the log itself. */
const MISDIRECTED = 421;

const INTERNAL: ErrorParts = {
  code: "INTERNAL",
  message: "An internal error occurred.",
  hint: "Look up the details in the node's log.",
};

/** Returns the media type and the body of an error in the form that the request accepts. */
function errorForm(
  { request: { headers }, url, id }: FailedCall,
  status: number,
  { code, message, hint = null, details }: ErrorParts,
): { readonly type: string; readonly body: string } {
  if (!prefersProblem(headers.accept)) {
    return { type: JSON_TYPE, body: jsonText({ error: { code, message, hint }, ...details }) };
  }
  const body = {
    // `code` is more specific than any type could be.
    type: "about:blank",
    title: STATUS_CODES[status] ?? "Error",
    status,
    detail: message,
    instance: `${escapedPath(url)}#${id}`,
    code,
    hint,
    ...details,
  };
  return { type: `${PROBLEM_TYPE}; charset=utf-8`, body: jsonText(body) };
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
