import type { IncomingMessage } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FailedRequests, LoggedRequest } from "./failed-requests.ts";
import { type HttpAnswer, jsonText } from "./answer.ts";
import { RequestError, statusOf } from "./request-error.ts";
import { closesAfterAnswer, drainBody, isHeldBack } from "./unread-body.ts";

interface FailedCall extends LoggedRequest {
  readonly request: IncomingMessage;
}

/** Returns the response for an error, and reports status 500 to `failures`. `methods` are those of the address. */
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
  const { code, message, hint = null } = known ?? INTERNAL;
  const details = known instanceof RequestError ? known.details : {};
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
