import { CairnError } from "@cairn/kv";
import type { Phase } from "@cairn/client";

/**
 * Returns the `NOT_READY` error for an operation that a node cannot perform in this phase. It includes the failure that
 * keeps the node from being ready.
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
      "Wait until the node is ready: cairn status --wait PT30S, or over HTTP until /health/ready returns 200. To read the current index now, add stale=true.",
  });
}
