import { CairnError } from "@cairn/kv";
import type { Phase } from "@cairn/client";

const WAIT =
  "Wait until the node is ready: cairn status --wait PT30S, or over HTTP until /health/ready returns 200.";

/** The life of a node, as far as it decides whether an operation is possible. `index` is undefined while none is open. */
interface Readiness {
  readonly phase: Phase;
  readonly failure: CairnError | undefined;
  readonly index: unknown;
}

/**
 * Returns `NOT_READY` for an operation that this phase does not permit, with the failure that keeps the node there.
 * `hasStale` is true for a read that may be repeated with stale=true.
 */
export function notReady(
  { phase, failure, index }: Readiness,
  { hasStale = false, cause }: { readonly hasStale?: boolean; readonly cause?: unknown } = {},
): CairnError {
  if (phase === "stopping") return nodeClosed();
  const state = phase === "failed" ? "failed" : `is ${phase}`;
  const why = failure === undefined ? state : `${state}: ${failure.message.replace(/\.$/, "")}`;
  const stale =
    hasStale && index !== undefined ? " To read what this node has now over HTTP, add stale=true." : "";
  return new CairnError("NOT_READY", `The node ${why}.`, { hint: `${failure?.hint ?? WAIT}${stale}`, cause });
}

/** Returns the error of all that a node refuses or ends because it is stopping or has stopped. */
export function nodeClosed(): CairnError {
  return new CairnError(
    "NOT_READY",
    "The node was closed.",
    "Send the request to another node, or start a new one: a closed node does not become ready again.",
  );
}
