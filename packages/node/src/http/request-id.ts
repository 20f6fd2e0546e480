import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";

/** Ids that others gave may be of any kind; what could be mistaken for something else in a log is not taken. */
const TAKEN = /^[\w.:/+=-]{1,128}$/;

/** The id of a request: the one in its header X-Request-Id, else a new one. */
export function requestId({ headers }: Pick<IncomingMessage, "headers">): string {
  const given = headers["x-request-id"];
  return typeof given === "string" && TAKEN.test(given) ? given : randomUUID();
}

/** Tells the id in the answer, so that it can be found in the node's log. */
export function tellRequestId(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  void reply.header("x-request-id", request.id);
  done();
}
