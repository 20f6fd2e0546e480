import { parseQuery, READ_PARAMETERS, readOptions } from "../requests/query.ts";
import { awaitMinTx, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET /api/v1/digest. */
export const digestRoutes: RegisterRoutes = (app, api) => {
  app.get("/api/v1/digest", async (request, reply) => {
    const { minTx, timeoutMs } = readOptions(parseQuery(request.url, READ_PARAMETERS));
    await awaitMinTx(api, minTx, timeLimit(timeoutMs));
    const digest = await api.digest();
    return reply.header("cairn-tx", digest.txId).send(digest);
  });
};
