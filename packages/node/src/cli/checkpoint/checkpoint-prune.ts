import {
  type CheckpointStore,
  planPrune,
  prune,
  type PruneEntry,
  type PruneOptions,
} from "@cairn/checkpoint";
import { type CairnError, levelProvider } from "@cairn/kv";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import { INDEX_VERSION } from "../../index/rows/index-state.ts";
import { readLogIdentity } from "../../log/log-identity.ts";
import { checkAnchor } from "../../log/anchor.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { formatBytes, formatCount, formatNumberOf, formatRelative } from "../../text/quantities.ts";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS, isConfigured } from "../options/configuration.ts";
import { countValue, durationValue, flag, type OptionValues, textValue } from "../options/option-specs.ts";
import { KEY_OPTIONS } from "../options/store-keys.ts";
import { chooseLog, withCheckpointPlace } from "../places/checkpoint-place.ts";
import { noStore } from "../places/checkpoint-source.ts";
import { noLog, withLog } from "../places/log-place.ts";
import { UsageError } from "../terminal/report-error.ts";

const PRUNE = {
  ...CONFIGURATION_OPTIONS,
  ...KEY_OPTIONS,
  dryRun: flag("only print what would be removed or kept, and why"),
  retainNewerThan: durationValue("keep checkpoints younger than this (default: the configured policy)", 0),
  retainAtLeast: countValue("<count>", "keep this many of the newest checkpoints", 1),
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
    const { options, terminal } = run;
    const { retainNewerThan, retainAtLeast } = options;
    const isGiven = retainNewerThan !== undefined || retainAtLeast !== undefined;
    const given = isGiven ? omitUndefined({ retainNewerThan, retainAtLeast }) : undefined;
    const inFolder = (folder: string, use: (store: CheckpointStore) => Promise<Pruned>): Promise<Pruned> =>
      withCheckpointPlace(folder, options, terminal, async ({ store, name }) => {
        if (name === undefined) return await use(store);
        throw new UsageError(
          `The path names ${name}, but prune decides among all checkpoints of a folder.`,
          "Name the folder. --dry-run prints what would be removed.",
        );
      });
    if (place !== undefined && !isConfigured(options)) {
      const pruned = await inFolder(place, async (store) => {
        const logId = await chooseLog(store, options.log);
        const format = { index: INDEX_VERSION, kv: levelProvider().format };
        return await pruneStore(run, { store, format, ...omitUndefined({ policy: given, logId }) });
      });
      return await report(run, pruned);
    }
    // The checkpoints of the named folder or, if there is none, of the configured store are compared with the log.
    const pruned = await withLog(options, terminal, async (log, { checkpointer, kvProvider }) => {
      const asked = {
        format: { index: INDEX_VERSION, kv: kvProvider.format },
        ...(await logOptions(log, options.log)),
        ...omitUndefined({ policy: given ?? checkpointer?.retentionPolicy }),
      };
      if (place !== undefined) return await inFolder(place, (store) => pruneStore(run, { store, ...asked }));
      if (checkpointer === undefined) throw noStore();
      return await pruneStore(run, { store: checkpointer.store, ...asked });
    });
    return await report(run, pruned);
  },
});

interface Pruned {
  readonly plan: readonly PruneEntry[];
  readonly failed: readonly { readonly name: string; readonly error: CairnError }[];
}

async function pruneStore(
  { options: { dryRun, otherLogs, lost, damaged } }: PruneRun,
  asked: Omit<PruneOptions, "otherLogs" | "lost" | "damaged">,
): Promise<Pruned> {
  if (lost && asked.agrees === undefined) {
    throw new UsageError(
      "--lost compares checkpoints with the log, so it needs a configuration.",
      "Name the configuration with -f.",
    );
  }
  const plan = await planPrune({ ...asked, otherLogs, lost, damaged });
  return { plan, failed: dryRun ? [] : (await prune(asked.store, plan)).failed };
}

/** Returns the log's id, and the function that compares checkpoints with the log. */
async function logOptions(
  log: TxLog,
  wanted: string | undefined,
): Promise<Pick<PruneOptions, "logId" | "agrees">> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log);
  if (wanted !== undefined && wanted !== identity.id) {
    throw new UsageError(
      `The configured log ${log.name} is ${identity.id}, not ${wanted}.`,
      "Omit --log, or name the folder instead of the configuration.",
    );
  }
  return {
    logId: identity.id,
    agrees: async ({ anchor, log: { offset } }) => {
      const problem = await checkAnchor(log, { position: anchor.txId - offset, sha256: anchor.sha256 });
      // Trimmed messages are not lost, so the log does not contradict a checkpoint that depends on them.
      return problem === undefined || problem.code === "LOG_TRIMMED";
    },
  };
}

async function report(run: PruneRun, { plan, failed }: Pruned): Promise<void> {
  const { dryRun } = run.options;
  const errors = new Map(failed.map(({ name, error }) => [name, error]));
  const removed = plan.filter(({ name, keep }) => !keep && !errors.has(name));
  const bytes = removed.reduce((sum, one) => sum + one.bytes, 0);
  const entries = plan.map(({ log, ...entry }) => ({ ...entry, logId: log?.id ?? null }));
  const failures = failed.map(({ name, error: { code, message } }) => ({ name, code, message }));
  const what =
    removed.length === 0 ? "nothing" : `${formatNumberOf(removed.length, "entry")}, ${formatBytes(bytes)}`;
  const summary = `${dryRun ? "would remove" : "removed"} ${what}; ${plan.length - removed.length} stay`;
  await run.answer(
    { dryRun, entries, removed: dryRun ? 0 : removed.length, bytes, failed: failures },
    plan.length === 0 ? "There is nothing to prune." : `${table(run, plan, errors)}\n${summary}`,
  );
  const [first] = failed;
  if (first !== undefined) throw first.error;
}

function table(run: PruneRun, plan: readonly PruneEntry[], errors: ReadonlyMap<string, CairnError>): string {
  const now = Date.now();
  const gone = run.options.dryRun ? "would be removed" : "removed";
  const rows = plan.map(({ name, txId, bytes, takenAt, keep, because }) => {
    const error = errors.get(name);
    return [
      keep ? "stays" : error === undefined ? gone : "failed",
      name,
      txId === null ? "" : formatCount(txId),
      formatBytes(bytes),
      takenAt === null ? "" : formatRelative(takenAt, now),
      error === undefined ? because : `${error.code}: ${error.message}`,
    ];
  });
  return run.table(["", "NAME", "TX", "SIZE", "TAKEN", "WHY"], rows, ["TX", "SIZE"]);
}
