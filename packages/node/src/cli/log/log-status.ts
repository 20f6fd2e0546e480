import { readLogIdentity } from "../../log/log-identity.ts";
import { formatFields } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type ConfiguredOptions,
} from "../options/command-options.ts";
import { formatCount, formatTime } from "../../text/quantities.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";
import { noLog, withLog } from "../places/log-place.ts";

export const addLogStatus: AddCommand = (parent, terminal) => {
  describeConfiguredCommand(
    parent.command("status"),
    "Show the configured log and its messages, without a node",
    ["NATS_URL=nats://10.0.0.7:4222 cairn log status", "cairn log status --json -f cairn.edn"],
  ).action(async (options: ConfiguredOptions) => {
    const status = await withLog(options, terminal, async (log, system) => {
      const identity = await readLogIdentity(log);
      if (identity === undefined) throw await noLog(log.name, system);
      const { id, name, bounds, birth } = identity;
      const last = await log.fetch(bounds.last);
      const lastAt = last === undefined ? null : new Date(last.time).toISOString();
      return { name, id, first: bounds.first, last: bounds.last, lastAt, offset: birth?.offset ?? null };
    });
    if (options.json === true) return writeJson(terminal.stdout, status);
    const { name, id, first, last, lastAt, offset } = status;
    const messages = last < first ? "none" : `${formatCount(first)} to ${formatCount(last)}`;
    return writeLine(
      terminal.stdout,
      formatFields([
        ["Log", name],
        ["Id", id],
        ["Messages", messages],
        ["Last", lastAt === null ? "unknown" : formatTime(lastAt)],
        ["Offset", offset === null ? "unknown: the birth record was trimmed" : formatCount(offset)],
      ]),
    );
  });
};
