import type { runEngine } from "@cairn/engine";
import { registerMetrics } from "./metrics/node-metrics.ts";

/** Counts the work of a node for Prometheus. The declaration names nothing of prom-client, which the bundle contains. */
export const prometheusMetrics: Parameters<typeof runEngine>[1]["measure"] = registerMetrics;
export { openHttpFiles, startHttpServer } from "./server.ts";
