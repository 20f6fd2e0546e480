import { parseTime } from "@cairn/text";
import type { PastPoint } from "@cairn/engine";
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
