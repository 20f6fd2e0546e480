import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** Matches acceptable ids from clients, which are those that cannot be mistaken for something else in log output. */
const ACCEPTED_ID = /^[\w.:/+=-]{1,128}$/;

/** Generating random bytes for each id would take longer than the rest of a request. */
const PREFIX = randomBytes(9).toString("base64url");
let lastId = 0;

export function newRequestId(): string {
  lastId += 1;
  return `${PREFIX}-${lastId}`;
}

/** Returns the id of a request: the value of its header X-Request-Id if it is valid, and otherwise a new id. */
export function requestId({ headers }: Pick<IncomingMessage, "headers">): string {
  const given = headers["x-request-id"];
  return typeof given === "string" && ACCEPTED_ID.test(given) ? given : newRequestId();
}

export function isSafeMethod(method: string | undefined): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS";
}
