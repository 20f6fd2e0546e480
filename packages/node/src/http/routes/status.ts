import { parseQuery } from "../requests/address.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET /status, in every phase. */
export const statusRoutes: RegisterRoutes = (app, api) => {
  app.get("/status", async (request, reply) => {
    parseQuery(request.url, {});
    return reply.header("cache-control", "no-store").send(await api.status());
  });
};
