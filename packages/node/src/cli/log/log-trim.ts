import { restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import { planTrim, trimLog } from "../../upkeep/plan-trim.ts";
import { formatCount } from "../../text/quantities.ts";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { durationValue, flag } from "../options/option-specs.ts";
import { withLog } from "../places/log-place.ts";

export const addLogTrim = command({
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
    const plan = await withLog(run.options, run.terminal, async (log, { trim: policy, ...system }) =>
      (dryRun ? planTrim : trimLog)({
        log,
        stores: restoreStores(system),
        kvFormat: system.kvProvider.format,
        keep: keep ?? policy?.keep,
      }),
    );
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
