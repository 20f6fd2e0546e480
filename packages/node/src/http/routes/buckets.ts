import { limit, parseQuery, READ_PARAMETERS, readOptions, text } from "../requests/query.ts";
import { sendPage } from "../answers/document-page.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET /api/v1/buckets, and GET /api/v1/tx/evictions. */
export const bucketRoutes: RegisterRoutes = (app, api) => {
  app.get("/api/v1/buckets", async (request, reply) => {
    const { txId, buckets } = await api.buckets(readOptions(parseQuery(request.url, READ_PARAMETERS)));
    return reply.header("cairn-tx", txId).send(buckets);
  });

  app.get("/api/v1/tx/evictions", async (request, reply) => {
    const query = parseQuery(request.url, { ...READ_PARAMETERS, limit, cursor: text });
    const { evictions, cursor } = await api.evictions({
      ...readOptions(query),
      ...(query.limit === undefined ? {} : { limit: query.limit }),
      ...(query.cursor === undefined ? {} : { cursor: query.cursor }),
    });
    return sendPage(
      request,
      reply,
      evictions.map((one) => JSON.stringify(one)),
      cursor,
    );
  });
};
