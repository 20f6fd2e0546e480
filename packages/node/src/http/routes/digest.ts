import { parseQuery, READ_PARAMETERS, readOptions } from "../query.ts";
import { awaitMinTx } from "./tx.ts";
import type { RegisterRoutes } from "./routes.ts";

/** GET /api/v1/digest. */
export const digestRoutes: RegisterRoutes = (app, api) => {
  app.get("/api/v1/digest", async (request, reply) => {
    await awaitMinTx(api, readOptions(parseQuery(request.url, READ_PARAMETERS)));
    const digest = await api.digest();
    return reply.header("cairn-tx", digest.txId).send(digest);
  });
};
