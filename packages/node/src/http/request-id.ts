import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";

/** Ids that others gave may be of any kind; what could be mistaken for something else in a log is not taken. */
const TAKEN = /^[\w.:/+=-]{1,128}$/;

/** What this process's own ids begin with: no other's begin so. */
const PREFIX = randomBytes(9).toString("base64url");
let made = 0;

/** The id of a request: the one in its header X-Request-Id, else a new one. */
export function requestId({ headers }: Pick<IncomingMessage, "headers">): string {
  const given = headers["x-request-id"];
  return typeof given === "string" && TAKEN.test(given) ? given : newRequestId();
}

/** A new one. An id of random bytes for each would take longer than all else about it. */
export function newRequestId(): string {
  made += 1;
  return `${PREFIX}-${made}`;
}

/** Tells the id in the answer, so that it can be found in the node's log. */
export function tellRequestId(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  void reply.header("x-request-id", request.id);
  done();
}
