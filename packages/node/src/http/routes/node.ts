import type { NodeStatus } from "@cairn/client";
import { JSON_TYPE, jsonAnswer } from "../answers/json-answer.ts";
import { RequestError } from "../answers/request-error.ts";
import { openApiDocument } from "../openapi/document.ts";
import { parseQuery } from "../requests/address.ts";
import { ACTIVITY_PARAMETERS, CLUSTER_PARAMETERS, LOG_PARAMETERS } from "../requests/parameters.ts";
import { storeInTime, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/**
 * Registers the addresses that are served in every phase: /health/live and /health/ready, which never require a token,
 * /status, /status/cluster, /status/activity, /status/log, /metrics and /openapi.json.
 */
export const nodeRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/health/live", (request, reply) => {
    parseQuery(request.url, {});
    return reply.send({ live: true, phase: apiFor(request).phase });
  });

  app.get("/health/ready", async (request, reply) => {
    const api = apiFor(request);
    parseQuery(request.url, {});
    if (api.phase === "ready") return reply.send({ ready: true, phase: api.phase });
    const status = await api.status();
    // The node may have become ready in the meantime.
    if (status.phase !== "ready") throw notReady(status);
    return reply.send({ ready: true, phase: status.phase });
  });

  app.get("/status", async (request, reply) => {
    parseQuery(request.url, {});
    return reply.header("cache-control", "no-store").send(await apiFor(request).status());
  });

  app.get("/status/cluster", async (request, reply) => {
    const query = parseQuery(request.url, CLUSTER_PARAMETERS);
    return reply.header("cache-control", "no-store").send(await apiFor(request).cluster(query));
  });

  app.get("/status/activity", async (request, reply) => {
    const query = parseQuery(request.url, ACTIVITY_PARAMETERS);
    return reply.header("cache-control", "no-store").send(await apiFor(request).activity(query));
  });

  app.get("/status/log", async (request, reply) => {
    const limit = timeLimit(parseQuery(request.url, LOG_PARAMETERS).timeoutMs);
    const overview = await storeInTime(apiFor(request).log(), limit);
    return reply.header("cache-control", "no-store").send(overview);
  });

  app.get("/metrics", async (request, reply) => {
    parseQuery(request.url, {});
    return reply.type("text/plain; version=0.0.4; charset=utf-8").send(await apiFor(request).metrics());
  });

  let openApi: string | undefined;
  app.get("/openapi.json", (request, reply) => {
    parseQuery(request.url, {});
    openApi ??= jsonAnswer(openApiDocument(apiFor(request).version));
    return reply.type(JSON_TYPE).send(openApi);
  });
};

function notReady(status: NodeStatus): RequestError {
  const { phase, progress, failure } = status;
  return new RequestError("NOT_READY", `The node is not ready: it is ${describe(status)}.`, {
    hint:
      failure?.hint ??
      (phase === "failed"
        ? "Read the reason with GET /status."
        : "Try again later. GET /status shows the progress."),
    details: { ready: false, phase, progress, failure },
  });
}

function describe({ phase, progress, failure }: NodeStatus): string {
  if (failure !== null && phase === "failed") return `stopped by ${failure.code}`;
  if (failure !== null) return `${phase}, and retries after ${failure.code}`;
  if (progress === null || progress.total === 0) return phase;
  return `${phase}, ${progress.done} of ${progress.total} ${progress.unit} done`;
}
