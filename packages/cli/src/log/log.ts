import { beginEmptyLog, findSuccessor, recordingStore, restoreStores, trimLog } from "@cairn/engine";
import { unlessFailed, withTimeout } from "@cairn/kv";
import { formatCount, formatTime } from "@cairn/text";
import { command, commandGroup } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { durationValue, flag } from "../options/option-specs.ts";
import { openLog, requireIdentity, requireLogItself } from "../places/configured-system.ts";
import { formatFields } from "../terminal/columns.ts";
import { addLogBackup } from "./backup/log-backup.ts";
import { addLogOrphans } from "./log-orphans.ts";
import { addLogRecover } from "./log-recover.ts";

/** The maximum time for which the status of a log waits for its stores. */
const STORE_MS = 3_000;

const addStatus = command({
  syntax: "status",
  description: "Show the configured log and its messages, without a node",
  examples: ["NATS_URL=nats://10.0.0.7:4222 cairn log status", "cairn log status --json -f cairn.edn"],
  options: CONFIGURATION_OPTIONS,
  async act(run) {
    const { log, system } = await openLog(run);
    const { id, name, bounds, birth } = await requireIdentity(log, system);
    const { first, last, lastTime } = bounds;
    const time = lastTime ?? (await log.fetch(last))?.time;
    const lastAt = time === undefined ? null : new Date(time).toISOString();
    const offset = birth?.offset ?? null;
    // The stores may be away or silent, and the log can be described without them.
    const reading = unlessFailed(findSuccessor(restoreStores(system), { id, birth }), "any", undefined);
    const successor = (await withTimeout(reading, STORE_MS, null))?.id ?? null;
    const fields = formatFields([
      ["Log", name],
      ["Id", id],
      [
        "Messages",
        last < first
          ? `none: all up to ${formatCount(last)} were removed`
          : `${formatCount(first)} to ${formatCount(last)}`,
      ],
      ["Last", lastAt === null ? "unknown" : formatTime(lastAt)],
      ["Offset", offset === null ? "unknown: the birth record was trimmed" : formatCount(offset)],
      ["Successor", successor && `${successor}, which was begun to continue this log`],
    ]);
    await run.answer({ name, id, first, last, lastAt, offset, successor }, fields);
  },
});

const addCreate = command({
  syntax: "create",
  description: "Create a new log now, instead of when the first node starts",
  examples: ["cairn log create -f cairn.edn", "cairn log create --empty -f cairn.edn"],
  options: {
    ...CONFIGURATION_OPTIONS,
    empty: flag("create an empty log even if something holds transactions of a log of this name"),
  },
  async act(run) {
    const { log, system } = await openLog(run);
    requireLogItself(log);
    const { name, location = null } = log;
    const id = await beginEmptyLog(log, system, run.options.empty);
    const at = location === null ? "" : ` at ${location}`;
    await run.answer({ name, id, location }, `began the log ${name} (id ${id})${at}`);
  },
});

const addTrim = command({
  syntax: "trim",
  description: "Remove old messages that a verified checkpoint or the log's backup in a shared store holds",
  examples: ["cairn log trim --dry-run -f cairn.edn", "cairn log trim --keep P3D -f cairn.edn"],
  options: {
    ...CONFIGURATION_OPTIONS,
    dryRun: flag("only print what would be removed, and why no more than that"),
    keep: durationValue(
      "keep messages younger than this (default: the keep parameter of trim in the configuration)",
      0,
    ),
  },
  async act(run) {
    const { dryRun, keep } = run.options;
    const { log: opened, system } = await openLog(run);
    const plan = await trimLog({
      log: opened,
      stores: restoreStores(system),
      kvFormat: system.kvProvider.format,
      keep: keep ?? system.trim?.keep,
      dryRun,
      acceptsBeginning: true,
      recordIn: recordingStore(system),
    });
    const { log, first, last, upTo, checkpoint, backup } = plan;
    const range = `${formatCount(first)} to ${formatCount(upTo - 1)}`;
    const gone = upTo - 1 === first ? `message ${formatCount(first)}` : `messages ${range}`;
    const holder = checkpoint?.name ?? `the log backup in ${backup?.store ?? ""}`;
    const has = last < first ? "is empty" : `has messages ${formatCount(first)} to ${formatCount(last)}`;
    const outcome =
      upTo === first
        ? `nothing to trim: the log ${log} ${has}`
        : `${dryRun ? "would trim" : "trimmed"} ${gone} of the log ${log}; ${holder} holds them`;
    await run.answer({ ...plan, trimmed: upTo - first, dryRun }, `${outcome}\n${plan.because}`);
  },
});

export const addLog = commandGroup("log", "Show, trim, back up, recover or create the transaction log", [
  addStatus,
  addCreate,
  addTrim,
  addLogRecover,
  addLogOrphans,
  addLogBackup,
]);
