import { queueHint, reasonWords } from "./queues/queue-access.ts";
import type { AnyOperation } from "./types/transaction.ts";

/** The words of a reason that name the revision, or the lack, of what a precondition concerns. */
const OF_PRECONDITION = / (?:is|are) (?:at revision \d+|absent|not set|not the expected one)$/;

/** Returns whether a transaction was aborted because of a precondition. `reason` is the outcome's reason. */
export function isLost(reason: string): boolean {
  return OF_PRECONDITION.test(reasonWords(reason));
}

/** Returns the hint of an operation that was refused. `other` is that of reasons which are not those of a queue. */
export function refusalHint(
  operation: AnyOperation[0],
  reason: string,
  other = "Read the document again before you write it.",
): string {
  if (operation !== "configure") return queueHint(reason) ?? other;
  return isLost(reason)
    ? "Read the policies again (cairn policy show, GET /api/v1/policies) and decide whether to set them."
    : "Do first what the reason says, and then set the policies again. cairn queue show prints the shards of a queue: one that is retiring becomes spare as further transactions remove its rows, up to 256 with each, including refused ones.";
}
