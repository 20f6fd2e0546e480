import { parseQuery } from "../requests/address.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET /metrics, in every phase. */
export const metricsRoutes: RegisterRoutes = (app, api) => {
  app.get("/metrics", async (request, reply) => {
    parseQuery(request.url, {});
    const text = await api.metrics();
    return reply.type("text/plain; version=0.0.4; charset=utf-8").send(text);
  });
};
