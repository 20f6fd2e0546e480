import { type Manifest, planPrune, prune, type PruneEntry } from "@cairn/checkpoint";
import { type CairnError, levelProvider } from "@cairn/kv";
import { INDEX_VERSION, mayContain } from "@cairn/engine";
import { formatBytes, formatCount, formatNumberOf, formatRelative, omitUndefined } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { isConfigured } from "../options/configuration.ts";
import { countValue, durationValue, flag, type OptionValues, textValue } from "../options/option-specs.ts";
import { STORE_OPTIONS } from "../places/store-keys.ts";
import { chooseLog, openStore } from "../places/checkpoint-place.ts";
import { type ConfiguredLog, openLog, requireIdentity, savingStore } from "../places/configured-system.ts";
import { UsageError } from "../terminal/report-error.ts";

const PRUNE = {
  ...STORE_OPTIONS,
  dryRun: flag("only print what would be removed or kept, and why"),
  retainNewerThan: durationValue("keep checkpoints younger than this (default: the configured policy)", 0),
  retainAtLeast: countValue("<count>", "keep this many of the newest checkpoints"),
  log: textValue(
    "<id>",
    "the log to which the policy applies, if a folder contains checkpoints of several logs",
  ),
  otherLogs: flag("also remove the checkpoints of all other logs"),
  lost: flag("with a configuration: also remove checkpoints with transactions that the log lost"),
  damaged: flag("also remove checkpoints that cannot be used"),
};

type PruneRun = CommandRun<OptionValues<typeof PRUNE>>;

export const addCheckpointPrune = command({
  syntax: "prune [folder]",
  description:
    "Remove old checkpoints and leftovers from a folder, or from the configured store after comparing each with the log",
  examples: [
    "cairn checkpoint prune ./cairn-data/checkpoints --retain-at-least 3 --dry-run",
    "cairn checkpoint prune -f cairn.edn --other-logs",
  ],
  options: PRUNE,
  async act(run, place) {
    const { retainNewerThan, retainAtLeast, log: asked, dryRun, otherLogs, lost, damaged } = run.options;
    const isGiven = retainNewerThan !== undefined || retainAtLeast !== undefined;
    const given = isGiven ? omitUndefined({ retainNewerThan, retainAtLeast }) : undefined;
    // The checkpoints of the named folder or, if there is none, of the configured store are compared with the log.
    const configured = place === undefined || isConfigured(run.options) ? await openLog(run) : undefined;
    const { kvProvider, checkpointer } = configured?.system ?? { kvProvider: levelProvider() };
    const store = place === undefined ? savingStore(configured?.system) : await openStore(run, place);
    if (lost && configured === undefined) {
      throw new UsageError(
        "--lost compares checkpoints with the log, so it needs a configuration.",
        "Name the configuration with -f.",
      );
    }
    const plan = await planPrune({
      store,
      format: { index: INDEX_VERSION, kv: kvProvider.format },
      ...omitUndefined({
        logId: configured ? await idOf(configured, asked) : await chooseLog({ store }, asked),
        agrees: configured && (async (manifest: Manifest) => await mayContain(configured.log, manifest)),
        policy: given ?? checkpointer?.retentionPolicy,
      }),
      otherLogs,
      lost,
      damaged,
    });
    const { entries, failed } = dryRun ? { entries: plan, failed: [] } : await prune(store, plan);
    await report(run, entries, failed);
  },
});

async function idOf({ log, system }: ConfiguredLog, wanted: string | undefined): Promise<string> {
  const { id: logId } = await requireIdentity(log, system);
  if (wanted !== undefined && wanted !== logId) {
    throw new UsageError(
      `The configured log ${log.name} is ${logId}, not ${wanted}.`,
      "Omit --log, or name the folder instead of the configuration.",
    );
  }
  return logId;
}

async function report(
  run: PruneRun,
  plan: readonly PruneEntry[],
  failed: Awaited<ReturnType<typeof prune>>["failed"],
): Promise<void> {
  const { dryRun } = run.options;
  const errors = new Map(failed.map(({ name, error }) => [name, error]));
  const removed = plan.filter(({ name, keep }) => !keep && !errors.has(name));
  const freed = removed.reduce((sum, one) => sum + one.bytes, 0);
  const entries = plan.map(({ name, kind, txId, takenAt, bytes, keep, because, log }) => {
    return { name, kind, txId, takenAt, bytes, keep, because, logId: log?.id ?? null };
  });
  const failures = failed.map(({ name, error: { code, message } }) => ({ name, code, message }));
  const what =
    removed.length === 0 ? "nothing" : `${formatNumberOf(removed.length, "entry")}, ${formatBytes(freed)}`;
  const summary = `${dryRun ? "would remove" : "removed"} ${what}; ${plan.length - removed.length} stay`;
  await run.answer(
    { dryRun, entries, removed: dryRun ? 0 : removed.length, bytes: freed, failed: failures },
    plan.length === 0 ? "There is nothing to prune." : `${table(run, plan, errors)}\n${summary}`,
  );
  const [first] = failed;
  if (first !== undefined) throw first.error;
}

function table(run: PruneRun, plan: readonly PruneEntry[], errors: ReadonlyMap<string, CairnError>): string {
  const now = Date.now();
  const gone = run.options.dryRun ? "would be removed" : "removed";
  const whyOf = ({ name, because }: PruneEntry): string => {
    const error = errors.get(name);
    return error === undefined ? because : `${error.code}: ${error.message}`;
  };
  return run.table(
    [
      ["", ({ name, keep }) => (keep ? "stays" : errors.has(name) ? "failed" : gone)],
      ["NAME", ({ name }) => name],
      ["TX", ({ txId }) => (txId === null ? "" : formatCount(txId)), "right"],
      ["SIZE", ({ bytes }) => formatBytes(bytes), "right"],
      ["TAKEN", ({ takenAt }) => (takenAt === null ? "" : formatRelative(takenAt, now))],
      ["WHY", whyOf],
    ],
    plan,
  );
}
