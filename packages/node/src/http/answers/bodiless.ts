import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";

/**
 * Leaves the length out of answers to HEAD that have nothing to send. The framework says 0, which is not the length of the answer to GET
 * (RFC 9110, 8.6): the stream of a watch has none, and a 304 has that of the document.
 */
export function omitLengthOfEmptyHead(app: FastifyInstance): void {
  app.addHook("onSend", ({ method }, _reply, payload, done) => {
    done(null, method === "HEAD" && payload === undefined ? Readable.from([]) : payload);
  });
}
