import type { NodeStatus } from "@cairn/client";
import { RequestError } from "../answers/request-error.ts";
import { parseQuery } from "../requests/address.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET /health/live and /health/ready; neither requires a token. */
export const healthRoutes: RegisterRoutes = (app, api) => {
  app.get("/health/live", (request, reply) => {
    parseQuery(request.url, {});
    return reply.send({ live: true, phase: api.phase });
  });

  app.get("/health/ready", async (request, reply) => {
    parseQuery(request.url, {});
    if (api.phase === "ready") return reply.send({ ready: true, phase: api.phase });
    const { phase, progress, failure } = await api.status();
    // It may have become ready meanwhile.
    if (phase === "ready") return reply.send({ ready: true, phase });
    throw notReady({ phase, progress, failure });
  });
};

function notReady(status: Pick<NodeStatus, "phase" | "progress" | "failure">): RequestError {
  const { phase, progress, failure } = status;
  return new RequestError("NOT_READY", `The node is not ready: it is ${describe(status)}.`, {
    hint:
      failure?.hint ??
      (phase === "failed" ? "GET /status shows why." : "GET /status shows its progress; try again."),
    details: { ready: false, phase, progress, failure },
  });
}

function describe({ phase, progress, failure }: Pick<NodeStatus, "phase" | "progress" | "failure">): string {
  if (failure !== null && phase === "failed") return `stopped by ${failure.code}`;
  if (failure !== null) return `${phase}, and retries after ${failure.code}`;
  if (progress === null || progress.total === 0) return phase;
  return `${phase}, ${progress.done} of ${progress.total} ${progress.unit} done`;
}
