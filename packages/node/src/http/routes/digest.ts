import { parseQuery } from "../requests/address.ts";
import { READ_PARAMETERS } from "../requests/parameters.ts";
import type { RegisterRoutes } from "./register-routes.ts";

export const digestRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/api/v1/digest", async (request, reply) => {
    const digest = await apiFor(request).digest(parseQuery(request.url, READ_PARAMETERS));
    return reply.header("cairn-tx", digest.txId).send(digest);
  });
};
