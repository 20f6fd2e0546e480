import { parseQuery } from "../requests/address.ts";
import { READ_PARAMETERS } from "../requests/parameters.ts";
import type { RegisterRoutes } from "./register-routes.ts";

export const bucketRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/api/v1/buckets", async (request, reply) => {
    const { txId, buckets } = await apiFor(request).buckets(parseQuery(request.url, READ_PARAMETERS));
    return reply.header("cairn-tx", txId).send(buckets);
  });
};
