import { startHttpServer, PrometheusMetrics } from "@cairn/http";
import { type System, type CairnNode, type NodeParts, runEngine, type RunOptions } from "@cairn/engine";

const PARTS: NodeParts = {
  serve: startHttpServer,
  measure: (system, onError) => new PrometheusMetrics(system, onError),
};

/** Starts the node that a system describes. Throws the errors of {@link runEngine}. */
export async function runNode(system: System, options: RunOptions = {}): Promise<CairnNode> {
  return await runEngine(system, PARTS, options);
}
