export { prometheusMetrics } from "./metrics/node-metrics.ts";
export { startHttpServer } from "./server.ts";
