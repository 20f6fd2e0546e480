import { readLogIdentity } from "../../log/log-identity.ts";
import { formatCount, formatTime } from "../../text/quantities.ts";
import { command, commandGroup } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { noLog, withLog } from "../places/log-place.ts";
import { formatFields } from "../terminal/columns.ts";
import { addLogBackup } from "./backup/log-backup.ts";
import { addLogCreate } from "./log-create.ts";
import { addLogOrphans } from "./log-orphans.ts";
import { addLogRecover } from "./log-recover.ts";
import { addLogTrim } from "./log-trim.ts";

const addStatus = command({
  syntax: "status",
  description: "Show the configured log and its messages, without a node",
  examples: ["NATS_URL=nats://10.0.0.7:4222 cairn log status", "cairn log status --json -f cairn.edn"],
  options: CONFIGURATION_OPTIONS,
  async act(run) {
    const status = await withLog(run.options, run.terminal, async (log, system) => {
      const identity = await readLogIdentity(log);
      if (identity === undefined) throw await noLog(log.name, system);
      const { id, name, bounds, birth } = identity;
      const newest = await log.fetch(bounds.last);
      const lastAt = newest === undefined ? null : new Date(newest.time).toISOString();
      return { name, id, first: bounds.first, last: bounds.last, lastAt, offset: birth?.offset ?? null };
    });
    const { name, id, first, last, lastAt, offset } = status;
    const fields = formatFields([
      ["Log", name],
      ["Id", id],
      ["Messages", last < first ? "none" : `${formatCount(first)} to ${formatCount(last)}`],
      ["Last", lastAt === null ? "unknown" : formatTime(lastAt)],
      ["Offset", offset === null ? "unknown: the birth record was trimmed" : formatCount(offset)],
    ]);
    await run.answer(status, fields);
  },
});

export const addLog = commandGroup("log", "Show, trim, back up, recover or create the transaction log", [
  addStatus,
  addLogCreate,
  addLogTrim,
  addLogRecover,
  addLogOrphans,
  addLogBackup,
]);
