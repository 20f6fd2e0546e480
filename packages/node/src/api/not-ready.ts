import { CairnError } from "@cairn/kv";
import type { Phase } from "@cairn/client";

/**
 * Returns the `NOT_READY` error for an operation that a node cannot do in this phase, with the failure that keeps the node from being
 * ready.
 */
export function notReady({
  phase,
  failure,
}: {
  readonly phase: Phase;
  readonly failure: CairnError | undefined;
}): CairnError {
  const state = phase === "failed" ? "failed" : `is ${phase}`;
  const why = failure === undefined ? state : `${state}: ${failure.message.replace(/\.$/, "")}`;
  return new CairnError("NOT_READY", `The node ${why}.`, {
    hint:
      failure?.hint ??
      "cairn status --wait PT30S waits until it is ready; over HTTP, /health/ready then returns 200, and ?stale=true reads the current index.",
  });
}
