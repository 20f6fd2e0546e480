import { startHttpServer } from "../http/server.ts";
import { PrometheusMetrics } from "../metrics/node-metrics.ts";
import type { System } from "../api/system.ts";
import { type CairnNode, type NodeParts, runEngine, type RunOptions } from "./node.ts";

const PARTS: NodeParts = {
  serve: startHttpServer,
  measure: (system, onError) => new PrometheusMetrics(system, onError),
};

/** Starts the node that a system describes. Throws the errors of {@link runEngine}. */
export async function runNode(system: System, options: RunOptions = {}): Promise<CairnNode> {
  return await runEngine(system, PARTS, options);
}
