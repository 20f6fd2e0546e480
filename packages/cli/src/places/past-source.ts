import type { PastPlan } from "@cairn/engine";
import { formatBytes, formatNumberOf } from "@cairn/text";

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
