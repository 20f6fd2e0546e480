import { parseQuery } from "../query.ts";
import type { RegisterRoutes } from "./routes.ts";

/** GET /status, in every phase. */
export const statusRoutes: RegisterRoutes = (app, api) => {
  app.get("/status", async (request, reply) => {
    parseQuery(request.url, {});
    return reply.header("cache-control", "no-store").send(await api.status());
  });
};
