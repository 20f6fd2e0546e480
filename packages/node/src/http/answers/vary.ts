import type { FastifyReply } from "fastify";

/** Says that an answer depends on a header of the request, besides those that it already says. */
export function varyBy(reply: FastifyReply, header: string): void {
  const others = reply.getHeader("vary");
  void reply.header("vary", others === undefined ? header : `${String(others)}, ${header}`);
}
