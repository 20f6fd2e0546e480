import { Readable } from "node:stream";
import type { FastifyInstance } from "fastify";

/**
 * Has answers to HEAD that have nothing to send say no length: the framework says 0, which is not that of the answer to GET (RFC 9110, 8.6):
 * a stream of a watch has none, and a 304 that of the document.
 */
export function tellNoLengthOfNothing(app: FastifyInstance): void {
  app.addHook("onSend", ({ method }, _reply, payload, done) => {
    done(null, method === "HEAD" && payload === undefined ? Readable.from([]) : payload);
  });
}
