import { CairnError } from "@cairn/kv";
import type { TxRange } from "../backup/segments/segment-name.ts";
import type { PastPlan, PastPoint } from "./past-plan.ts";

/**
 * Returns `CHECKPOINT_NOT_FOUND` for a transaction beyond all that is known of its log: it may never have existed, so
 * an earlier one is no substitute. `where` contains the searched locations, and `hint` the advice.
 */
export function beyondReach(
  { known, covered, source, checkpoint, history }: PastPlan,
  at: PastPoint | undefined,
  where: string,
  hint: string,
): CairnError | undefined {
  if (at === undefined || !("txId" in at) || at.txId <= known) return undefined;
  const holder = source === "log" ? "the log holds" : "the log backup covers";
  const parts = [
    ...(covered.length === 0 ? [] : [`${holder} ${covered.map(rangeOf).join(", ")}`]),
    ...(history === undefined && checkpoint !== undefined
      ? [`the newest checkpoint ends with transaction ${checkpoint.txId}`]
      : []),
  ];
  const message = `Transaction ${at.txId} is beyond everything in ${where}: ${parts.join(", and ")}.`;
  return new CairnError("CHECKPOINT_NOT_FOUND", message, hint);
}

function rangeOf({ first, last }: TxRange): string {
  return first === last ? `transaction ${first}` : `transactions ${first} to ${last}`;
}
