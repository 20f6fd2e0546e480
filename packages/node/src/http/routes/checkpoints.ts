import { flag, parseQuery, READ_PARAMETERS, readOptions } from "../requests/query.ts";
import { storeInTime, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET and POST /api/v1/checkpoints, and POST /api/v1/checkpoints/{name}/verify. */
export const checkpointRoutes: RegisterRoutes = (app, api) => {
  app.get("/api/v1/checkpoints", async (request, reply) => {
    const options = readOptions(parseQuery(request.url, READ_PARAMETERS));
    const limit = timeLimit(options.timeoutMs);
    await api.prepareRead(options);
    return reply.send(await storeInTime(api.checkpoints(), limit));
  });

  app.post<{ Params: { name: string } }>("/api/v1/checkpoints/:name/verify", async (request, reply) => {
    parseQuery(request.url, {});
    const { name } = request.params;
    return reply.send(await api.verifyCheckpoint(name === "newest" ? undefined : name));
  });

  app.post("/api/v1/checkpoints", async (request, reply) => {
    const query = parseQuery(request.url, { await: flag });
    const { begun, done } = api.checkpoint();
    // Whoever does not wait learns of a failure from /status; it must not end the process as an unhandled rejection.
    done.catch(() => undefined);
    await begun;
    if (query.await !== true) return reply.code(202).send({ begun: true });
    const result = await done;
    return reply.send("checkpoint" in result ? result.checkpoint : result);
  });
};
