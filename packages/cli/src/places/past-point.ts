import { formatBytes, formatNumberOf, parseTime } from "@cairn/text";
import type { PastPlan, PastPoint } from "@cairn/engine";
import { countValue, type OptionValues, parsedValue } from "../options/option-specs.ts";

export const POINT_OPTIONS = {
  atTx: { ...countValue("<id>", "use the state exactly at this transaction", 1), conflicts: ["at"] },
  /** A time in milliseconds since 1970. */
  at: parsedValue(
    "<time>",
    "use the state at the last transaction at or before this ISO 8601 time",
    (given, name) => Date.parse(parseTime(given, name)),
  ),
};

/** Returns the point that the options name; undefined if they name none. */
export function pointOf({ atTx, at }: Partial<OptionValues<typeof POINT_OPTIONS>>): PastPoint | undefined {
  if (atTx !== undefined) return { txId: atTx };
  return at === undefined ? undefined : { time: at };
}

/** Describes the sources from which an index as of a point in the past is built. */
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
