import type { RequestListener } from "node:http";
import { CairnError } from "@cairn/kv";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Connections } from "./end-connections.ts";
import { methodNotAllowed, pathOf, type RouteMethods, toOriginForm } from "./requests/methods.ts";
import { preconditionProblem } from "./requests/preconditions.ts";
import { bucketIn } from "./requests/document-path.ts";
import { RESERVED_BUCKETS } from "../text/document-key.ts";

/** Has every request of a server taken in its turn, before anything else looks at it. To be called once all else listens. */
export function takeInTurn({ server }: FastifyInstance, connections: Connections): void {
  const listeners = server.listeners("request") as RequestListener[];
  server.removeAllListeners("request");
  // Node would drop the lines beyond 2,000, be it an If-Match; the size of all of them is limited anyway.
  server.maxHeadersCount = 0;
  server.on("request", (request, response) => {
    toOriginForm(request);
    connections.inTurn(request, () => listeners.forEach((listener) => listener(request, response)));
  });
}

/** Refuses what no route takes, what a route would otherwise ignore, and what only looks like the address of a document. */
export function refuseUnserved(app: FastifyInstance, methods: RouteMethods): void {
  app.addHook("onRequest", ({ method, url, headers, routeOptions }: FastifyRequest, _reply, done) => {
    const { url: route, config } = routeOptions;
    if (route === undefined) return done(unserved(method, url, methods.at(url)));
    if (RESERVED_BUCKETS.has(bucketIn(url))) {
      const served = methods.ofOwn(url);
      if (served.length > 0 && !served.includes(method))
        return done(methodNotAllowed(method, pathOf(url), served));
    }
    done(preconditionProblem(headers, method, config.preconditions === true));
  });
}

function unserved(method: string, url: string, allowed: readonly string[]): CairnError {
  if (allowed.length > 0) return methodNotAllowed(method, pathOf(url), allowed);
  return new CairnError("NOT_FOUND", `There is no ${method} ${pathOf(url)}.`, {
    hint: "GET /openapi.json lists all addresses with their methods.",
  });
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route looks at If-Match and If-None-Match. */
    preconditions?: boolean;
  }
}
