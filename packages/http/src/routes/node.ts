import type { NodeReadiness } from "@cairn/engine";
import { jsonAnswer } from "../answers/answer.ts";
import { RequestError } from "../answers/request-error.ts";
import { found, READ_ERRORS, type Route, route } from "../openapi/route.ts";
import { CLUSTER_PARAMETERS, READ_PARAMETERS } from "../requests/parameters.ts";
import { formatDuration } from "@cairn/text";
import { ref, TEXT } from "../requests/schema-parts.ts";

const HEALTH = { method: "GET", right: "none", concerns: "none", tag: "node" } as const;
const STATUS = { method: "GET", right: "observe", tag: "node" } as const;
const NOT_STORED = { "cache-control": "no-store" };

/** The node itself. Except for the digest, these addresses are served in every phase. */
export const nodeRoutes: readonly Route[] = [
  route({
    ...HEALTH,
    path: "/health/live",
    id: "getLive",
    summary: "Report whether the process is alive.",
    answers: found("The process is alive.", ref("Live")),
    handle: ({ api }) => jsonAnswer({ live: true, phase: api.phase }),
  }),
  route({
    ...HEALTH,
    path: "/health/ready",
    id: "getReady",
    summary: "Report whether the index has been restored and has caught up.",
    answers: found("The node is ready.", ref("Ready")),
    errors: ["NOT_READY"],
    async handle({ api }) {
      const readiness = await api.readiness();
      const { phase, lag } = readiness;
      if (phase === "ready" && lag !== undefined) {
        const message = `The node serves, but lags: its index last contained everything in the log ${formatDuration(lag)} ago.`;
        throw new RequestError("NOT_READY", message, {
          hint: "Send requests to another node, if there is one. GET /status shows whether the log can be reached. The limit is ready-max-lag.",
          details: { ready: false, phase: "ready", progress: null, failure: null },
        });
      }
      if (phase !== "ready") throw notReady(readiness);
      return jsonAnswer({ ready: true, phase });
    },
  }),
  route({
    ...STATUS,
    path: "/status",
    concerns: "all",
    id: "getStatus",
    summary: "Return the node's status, in every phase.",
    answers: found("The node's status.", ref("Status")),
    handle: async ({ api }) => jsonAnswer(await api.status(), NOT_STORED),
  }),
  route({
    ...STATUS,
    path: "/status/cluster",
    concerns: "all",
    id: "getCluster",
    summary: "Return the status of all nodes of the log, and what needs attention, in every phase.",
    query: CLUSTER_PARAMETERS,
    answers: found("The status of the cluster.", ref("ClusterStatus")),
    handle: async ({ api, query }) => jsonAnswer(await api.cluster(query), NOT_STORED),
  }),
  route({
    ...STATUS,
    path: "/metrics",
    concerns: "all",
    id: "getMetrics",
    summary: "Return metrics in the Prometheus text format.",
    answers: [{ status: 200, description: "The metrics.", schema: TEXT, mediaType: "text/plain" }],
    handle: async ({ api }) => ({
      type: "text/plain; version=0.0.4; charset=utf-8",
      body: await api.metrics(),
    }),
  }),
  route({
    ...STATUS,
    path: "/api/v1/digest",
    concerns: "all",
    id: "getDigest",
    summary: "Return a SHA-256 of the logical content.",
    query: READ_PARAMETERS,
    answers: found("The digest.", ref("Digest"), ["Cairn-Tx"]),
    errors: READ_ERRORS,
    async handle({ api, query }) {
      const digest = await api.digest(query);
      return jsonAnswer(digest, { "cairn-tx": digest.txId });
    },
  }),
];

function notReady(readiness: NodeReadiness): RequestError {
  const { phase, progress, failure } = readiness;
  return new RequestError("NOT_READY", `The node is not ready: it is ${describe(readiness)}.`, {
    hint:
      failure?.hint ??
      (phase === "failed"
        ? "Read the reason with GET /status."
        : "Try again later. GET /status shows the progress."),
    details: { ready: false, phase, progress, failure },
  });
}

function describe({ phase, progress, failure }: NodeReadiness): string {
  if (failure !== null && phase === "failed") return `stopped by ${failure.code}`;
  if (failure !== null) return `${phase}, and retries after ${failure.code}`;
  if (progress === null || progress.total === 0) return phase;
  return `${phase}, ${progress.done} of ${progress.total} ${progress.unit} done`;
}
