import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { formatBytes, formatNumberOf, isoTime, parseTime } from "@cairn/text";
import type { PastPlan, PastPoint } from "@cairn/engine";
import { countValue, type OptionValues, parsedValue } from "../options/option-specs.ts";

export const POINT_OPTIONS = {
  atTx: { ...countValue("<id>", "use the state exactly at this transaction"), conflicts: ["at"] },
  /** A time in milliseconds since 1970. */
  at: parsedValue(
    "<time>",
    "use the state at the last transaction at or before this ISO 8601 time",
    (given, name) => Date.parse(parseTime(given, name)),
  ),
};

export function pointOf({ atTx, at }: Partial<OptionValues<typeof POINT_OPTIONS>>): PastPoint | undefined {
  if (atTx !== undefined) return { txId: atTx };
  return at === undefined ? undefined : { time: at };
}

/** A segment without which the past is built, in the words of a notice. */
export const BACKUP_PART = "a segment of the log backup";

export function describeSource({ checkpoint, history, segments, source, txId, index }: PastPlan): string {
  if (index !== undefined) return `from the index in ${index.place}`;
  const basis = checkpoint === undefined ? "an empty index" : `${checkpoint.name} in ${checkpoint.store}`;
  if (history === undefined || checkpoint?.txId === txId) return `from ${basis}`;
  const after = formatNumberOf(txId - (checkpoint?.txId ?? 0), "transaction");
  const from =
    source === "log"
      ? "the log"
      : `${formatNumberOf(segments.count, "segment")} of its backup (${formatBytes(segments.bytes)})`;
  return `from ${basis}, and ${after} from ${from}`;
}

/**
 * Returns `CHECKPOINT_NOT_FOUND` for a point to which a plan does not lead exactly. A transaction beyond all that is known
 * of its log may never have existed. `hint` contains the advice.
 */
export function notReached(
  { known, covered, source, checkpoint, history }: PastPlan,
  at: PastPoint,
  stores: readonly CheckpointStore[],
  hint: string,
): CairnError {
  const where = stores.map(({ location }) => location).join(" or ");
  if (!("txId" in at) || at.txId <= known) {
    const point = "txId" in at ? `transaction ${at.txId}` : isoTime(at.time);
    const message = `Nothing in ${where} leads exactly to ${point}.`;
    return new CairnError("CHECKPOINT_NOT_FOUND", message, hint);
  }
  const holder = source === "log" ? "the log holds" : "the log backup covers";
  const runs = covered
    .map(({ first, last }) => (first === last ? `transaction ${first}` : `transactions ${first} to ${last}`))
    .join(", ");
  const parts = [
    ...(covered.length === 0 ? [] : [`${holder} ${runs}`]),
    ...(history === undefined && checkpoint !== undefined
      ? [`the newest checkpoint ends with transaction ${checkpoint.txId}`]
      : []),
  ];
  const message = `Transaction ${at.txId} is beyond everything in ${where}: ${parts.join(", and ")}.`;
  return new CairnError("CHECKPOINT_NOT_FOUND", message, hint);
}
