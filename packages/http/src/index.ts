import type { runEngine } from "@cairn/engine";
import { prometheusMetrics as measure } from "./metrics/node-metrics.ts";

/** Counts the work of a node for Prometheus. The declaration names nothing of prom-client, which the bundle contains. */
export const prometheusMetrics: Parameters<typeof runEngine>[1]["measure"] = measure;
export { startHttpServer } from "./server.ts";
