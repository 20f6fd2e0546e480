import { type IncomingMessage, STATUS_CODES } from "node:http";
import { accepted } from "./accepted.ts";
import { JSON_TYPE, jsonAnswer } from "./json-answer.ts";

/** What an error tells. */
export interface ErrorParts {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  /** What stands beside the error. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The media type of problem details (RFC 9457). */
export const PROBLEM_TYPE = "application/problem+json";
const PLAIN_TYPE = "application/json";

/** Every error varies by it. */
export const VARY_ACCEPT = "accept";

/** Type and body of an error, in the form that the request accepts. */
export function errorForm(
  request: Pick<IncomingMessage, "headers" | "url">,
  requestId: string,
  status: number,
  { code, message, hint, details }: ErrorParts,
): { readonly type: string; readonly body: string } {
  if (!prefersProblem(request.headers.accept)) {
    return { type: JSON_TYPE, body: jsonAnswer({ error: { code, message, hint }, ...details }) };
  }
  const body = {
    // What more there is to say than the status, `code` says.
    type: "about:blank",
    title: STATUS_CODES[status] ?? "Error",
    status,
    detail: message,
    instance: `${uri(request.url ?? "/")}#${requestId}`,
    code,
    hint,
    ...details,
  };
  return { type: `${PROBLEM_TYPE}; charset=utf-8`, body: jsonAnswer(body) };
}

/**
 * Whether problem details are to be sent: they are asked for by their name, and weigh more than JSON, or as much as what only stands in for
 * it (any type). Who names both, as generated clients do, gets what nodes answer otherwise.
 */
export function prefersProblem(accept: string | undefined): boolean {
  if (accept === undefined || !/problem/i.test(accept)) return false;
  const ranges = accepted(accept);
  const problem = ranges.find(({ name }) => name === PROBLEM_TYPE)?.q ?? 0;
  if (problem === 0) return false;
  const named = ranges.find(({ name }) => name === PLAIN_TYPE);
  if (named !== undefined) return problem > named.q;
  const any =
    ranges.find(({ name }) => name === "application/*") ?? ranges.find(({ name }) => name === "*/*");
  return problem >= (any?.q ?? 0);
}

/** The path of a request as an address may have it. */
function uri(url: string): string {
  const end = url.search(/[?#]/);
  return (end < 0 ? url : url.slice(0, end)).replaceAll(/[^\w!$&'()*+,./:;=@~%-]/g, encodeURIComponent);
}
