import { startHttpServer, PrometheusMetrics } from "@cairn/http";
import { type CairnNode, runEngine, type System } from "@cairn/engine";

const PARTS: Parameters<typeof runEngine>[1] = {
  serve: startHttpServer,
  measure: (system, onError) => new PrometheusMetrics(system, onError),
};

/** Starts the node that a system describes. Throws the errors of {@link runEngine}. */
export async function runNode(
  system: System,
  options: Parameters<typeof runEngine>[2] = {},
): Promise<CairnNode> {
  return await runEngine(system, PARTS, options);
}
