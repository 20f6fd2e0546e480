import { formatTable, shorten } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeReadCommand,
  type ReadCommandOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import type { RecordedEvent } from "../../index/read/event-reads.ts";
import { writeJsonLines, writeLine, tell } from "../terminal/terminal.ts";

interface EventOptions extends ReadCommandOptions {
  readonly limit: number;
  readonly bucket?: string;
  readonly object?: string;
  readonly before?: string;
}

const WIDEST_MESSAGE = 200;

export const addEvents: AddCommand = (parent, terminal) => {
  describeReadCommand(parent.command("events"), "List recorded events, newest first", [
    "cairn events --limit 20",
    "cairn events --object pod/web-0 --json",
  ])
    .option("--limit <count>", "print at most this many events, up to 1,000", wholeNumber("--limit", 1), 100)
    .option("--bucket <bucket>", "print only events about objects in this bucket")
    .option("--object <object>", "print only events about this object")
    .option(
      "--before <id-or-time>",
      "print only events older than this: the id of an event, or nanoseconds since 1970",
    )
    .action(async ({ limit, bucket, object, before, ...options }: EventOptions) => {
      const query = { ...readQuery(options), limit, bucket, object, before };
      const events = (await withNode(terminal, options, (node) =>
        node.json({ path: "/api/v1/events", query }),
      )) as readonly RecordedEvent[];
      if (options.json === true) return writeJsonLines(terminal.stdout, events);
      if (events.length === 0) return tell(terminal, "None found.");
      const rows = events.map(({ time, reason, object: what, message = "" }) => [
        timeText(time),
        reason,
        what,
        shorten(message, WIDEST_MESSAGE),
      ]);
      return writeLine(
        terminal.stdout,
        formatTable(["TIME", "REASON", "OBJECT", "MESSAGE"], rows, [], terminal.stdout),
      );
    });
};

/** Formats nanoseconds since 1970 as an ISO 8601 time with milliseconds. */
function timeText(nanoseconds: string): string {
  const date = new Date(Number(BigInt(nanoseconds) / 1_000_000n));
  return Number.isNaN(date.getTime()) ? nanoseconds : date.toISOString();
}
