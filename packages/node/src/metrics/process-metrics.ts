import { collectDefaultMetrics, Registry } from "prom-client";

let registry: Registry | undefined;

/** Gauges whose names end as those of counters do. Each is the sum of one that is told by type. */
const SUMS = ["nodejs_active_resources_total", "nodejs_active_handles_total", "nodejs_active_requests_total"];

/**
 * The metrics of this process and of Node, as their client library names them, without what is misnamed there. They are the process's, so nodes that share one share
 * them; counted from the first call on, because watching the garbage collector and the event loop is not free.
 */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
    for (const name of SUMS) registry.removeSingleMetric(name);
  }
  return registry;
}
