import type { Command } from "commander";
import { parseTime } from "../../http/requests/parameters.ts";
import type { PastPoint } from "../../replay/past-plan.ts";
import { UsageError } from "../terminal/report-error.ts";
import { wholeNumber } from "./command-options.ts";

export interface PointOptions {
  readonly atTx?: number;
  /** A time in milliseconds since 1970. */
  readonly at?: number;
}

export function addPointOptions(command: Command): Command {
  return command
    .option("--at-tx <id>", "use the state exactly at this transaction", wholeNumber("--at-tx", 1))
    .option(
      "--at <time>",
      "use the state at the last transaction at or before this ISO 8601 time",
      (text: string) => Date.parse(parseTime(text, "--at")),
    );
}

/** Returns the point that the options name; undefined if they name none. */
export function pointOf({ atTx, at }: PointOptions): PastPoint | undefined {
  if (atTx !== undefined && at !== undefined) throw new UsageError("--at-tx and --at cannot be combined.");
  if (atTx !== undefined) return { txId: atTx };
  return at === undefined ? undefined : { time: at };
}
