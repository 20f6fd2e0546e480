import { restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { planTrim, trimLog, type TrimPlan } from "../../upkeep/plan-trim.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  durationOption,
  type ConfiguredOptions,
} from "../options/command-options.ts";
import { formatCount } from "../../text/quantities.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";
import { withLog } from "../places/log-place.ts";

interface LogTrimOptions extends ConfiguredOptions {
  readonly dryRun?: boolean;
  readonly keep?: number;
}

export const addLogTrim: AddCommand = (parent, terminal) => {
  describeConfiguredCommand(
    parent.command("trim"),
    "Remove old messages that a verified checkpoint or the log's backup in a shared store holds",
    ["cairn log trim --dry-run -f cairn.edn", "cairn log trim --keep P3D -f cairn.edn"],
  )
    .option("--dry-run", "only print what would be removed, and why no more than that")
    .option(
      "--keep <duration>",
      "keep messages younger than this (default: the keep parameter of trim in the configuration)",
      durationOption("--keep", 0),
    )
    .action(async (options: LogTrimOptions) => {
      const { keep, dryRun = false } = options;
      const plan = await withLog(options, terminal, (log, system) => trim(log, system, keep, dryRun));
      const trimmed = plan.upTo - plan.first;
      if (options.json === true) return writeJson(terminal.stdout, { ...plan, trimmed, dryRun });
      return writeLine(terminal.stdout, `${outcome(plan, dryRun)}\n${plan.because}`);
    });
};

async function trim(
  log: TxLog,
  { trim: policy, ...system }: System,
  keep: number | undefined,
  dryRun: boolean,
): Promise<TrimPlan> {
  const work = dryRun ? planTrim : trimLog;
  return await work({
    log,
    stores: restoreStores(system),
    kvFormat: system.kvProvider.format,
    keep: keep ?? policy?.keep,
  });
}

function outcome({ log, first, last, upTo, checkpoint, backup }: TrimPlan, dryRun: boolean): string {
  const has = last < first ? "is empty" : `has messages ${formatCount(first)} to ${formatCount(last)}`;
  if (upTo === first) return `nothing to trim: the log ${log} ${has}`;
  const gone =
    upTo - 1 === first
      ? `message ${formatCount(first)}`
      : `messages ${formatCount(first)} to ${formatCount(upTo - 1)}`;
  const verb = dryRun ? "would trim" : "trimmed";
  return `${verb} ${gone} of the log ${log}; ${checkpoint?.name ?? `the log backup in ${backup?.store ?? ""}`} holds them`;
}
