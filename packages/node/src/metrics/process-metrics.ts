import { collectDefaultMetrics, Registry } from "prom-client";

let registry: Registry | undefined;

/**
 * The metrics of this process and of Node, as their client library names them. They are the process's, so nodes that share one share
 * them; counted from the first call on, because watching the garbage collector and the event loop is not free.
 */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
  }
  return registry;
}
