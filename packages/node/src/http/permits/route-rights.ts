import type { FastifyInstance } from "fastify";
import type { Right } from "../../api/system.ts";
import { ownMember } from "../../text/own-member.ts";

/** The right that a route requires. `none` means that it does not even require a token. */
export type RouteRight = Right | "none";

/**
 * HEAD requires the same right as GET. Within a transaction, `configure` also requires `operate` (permitted-api.ts).
 */
export const ROUTE_RIGHTS: Readonly<Record<string, RouteRight>> = {
  "GET /": "none",
  "GET /page/:file": "none",
  "GET /health/live": "none",
  "GET /health/ready": "none",
  "GET /openapi.json": "read",
  "GET /status": "observe",
  "GET /status/cluster": "observe",
  "GET /status/activity": "observe",
  "GET /status/log": "observe",
  "GET /metrics": "observe",
  "GET /api/v1/digest": "observe",
  "GET /api/v1/checkpoints": "observe",
  "POST /api/v1/checkpoints": "operate",
  "POST /api/v1/checkpoints/:name/verify": "operate",
  "GET /api/v1/policies": "observe",
  "PUT /api/v1/policies": "operate",
  "GET /api/v1/tx/evictions": "operate",
  "GET /api/v1/tx/:id": "read",
  "POST /api/v1/tx": "write",
  "POST /api/v1/tx/batch": "write",
  "GET /api/v1/buckets": "read",
  "GET /api/v1/events": "read",
  "POST /api/v1/events": "write",
  "GET /api/v1/watch": "read",
  "POST /api/v1/watch/tickets": "read",
  "GET /api/v1/queues": "read",
  "GET /api/v1/queues/:queue": "read",
  "GET /api/v1/queues/:queue/shards/:shard/open": "read",
  "GET /api/v1/queues/:queue/entry": "read",
  "POST /api/v1/queues/:queue/entries": "write",
  "POST /api/v1/queues/:queue/shards/:shard/claim": "write",
  "POST /api/v1/queues/:queue/shards/:shard/drain": "write",
  "POST /api/v1/queues/:queue/shards/:shard/renew": "write",
  "POST /api/v1/queues/:queue/shards/:shard/release": "write",
  "POST /api/v1/queues/:queue/shards/:shard/retire": "write",
  "GET /api/v1/:bucket": "read",
  "GET /api/v1/*": "read",
  "PUT /api/v1/*": "write",
  "DELETE /api/v1/*": "write",
  "GET /api/v1/buckets/:bucket/document": "read",
  "PUT /api/v1/buckets/:bucket/document": "write",
  "DELETE /api/v1/buckets/:bucket/document": "write",
};

/** The routes that are not requests for documents, although they require the right to read. */
const NOT_READS: ReadonlySet<string> = new Set(["/openapi.json", "/api/v1/watch", "/api/v1/watch/tickets"]);

/** Returns whether a route reads or writes data; undefined if neither, and for a watch, which lasts as long as its client. */
export function requestKind({
  method,
  route,
}: {
  readonly method: string;
  readonly route: string;
}): "read" | "write" | undefined {
  const name = `${method === "HEAD" ? "GET" : method} ${route}`;
  const right = ownMember(ROUTE_RIGHTS, name);
  return (right === "read" || right === "write") && !NOT_READS.has(route) ? right : undefined;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** The right that the route requires. {@link requireRights} sets it for every route. */
    right?: RouteRight;
  }
}

/**
 * Gives every route that is registered after this call the right that {@link ROUTE_RIGHTS} assigns to it. Registering a
 * route without one fails, so that no route is served to everyone because somebody forgot it.
 */
export function requireRights(app: FastifyInstance): void {
  app.addHook("onRoute", (route) => {
    const rights = [route.method].flat().map((method) => {
      const name = `${method === "HEAD" ? "GET" : method} ${route.url}`;
      const right = ownMember(ROUTE_RIGHTS, name);
      if (right === undefined) throw new Error(`The route ${name} has no right in ROUTE_RIGHTS.`);
      return right;
    });
    const [right = "operate", ...others] = new Set(rights);
    if (others.length > 0) throw new Error(`The methods of the route ${route.url} require different rights.`);
    route.config = { ...route.config, right };
  });
}
