import { parseQuery } from "../requests/address.ts";
import { CHECKPOINT_PARAMETERS, READ_PARAMETERS } from "../requests/parameters.ts";
import { storeInTime, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** Registers GET and POST /api/v1/checkpoints, and POST /api/v1/checkpoints/{name}/verify. */
export const checkpointRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/api/v1/checkpoints", async (request, reply) => {
    const api = apiFor(request);
    const query = parseQuery(request.url, READ_PARAMETERS);
    const limit = timeLimit(query.timeoutMs);
    await api.prepareRead(query);
    return reply.send(await storeInTime(api.checkpoints(), limit));
  });

  app.post<{ Params: { name: string } }>("/api/v1/checkpoints/:name/verify", async (request, reply) => {
    parseQuery(request.url, {});
    const { name } = request.params;
    return reply.send(await apiFor(request).verifyCheckpoint(name === "newest" ? undefined : name));
  });

  app.post("/api/v1/checkpoints", async (request, reply) => {
    const query = parseQuery(request.url, CHECKPOINT_PARAMETERS);
    const { begun, done } = apiFor(request).checkpoint();
    // A client that does not wait finds the failure in /status. Without this handler, the unhandled rejection would end
    // the process.
    done.catch(() => undefined);
    await begun;
    if (query.await !== true) return reply.code(202).send({ begun: true });
    const result = await done;
    return reply.send("checkpoint" in result ? result.checkpoint : result);
  });
};
