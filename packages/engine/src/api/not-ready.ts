import { CairnError } from "@cairn/kv";
import type { Phase } from "@cairn/client";

const WAIT =
  "Wait until the node is ready: cairn status --wait PT30S, or over HTTP until /health/ready returns 200.";

/** Returns `NOT_READY` for an operation that this phase does not permit, with the failure that keeps the node there. */
export function notReady(
  { phase, failure }: { readonly phase: Phase; readonly failure: CairnError | undefined },
  { isRead = true }: { readonly isRead?: boolean } = {},
): CairnError {
  const state = phase === "failed" ? "failed" : `is ${phase}`;
  const why = failure === undefined ? state : `${state}: ${failure.message.replace(/\.$/, "")}`;
  return new CairnError(
    "NOT_READY",
    `The node ${why}.`,
    failure?.hint ?? (isRead ? `${WAIT} To read the current index now, add stale=true.` : WAIT),
  );
}
