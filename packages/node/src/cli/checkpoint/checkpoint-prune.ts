import {
  type CheckpointStore,
  planPrune,
  prune,
  type PruneEntry,
  type PruneOptions,
  type RetentionPolicy,
} from "@cairn/checkpoint";
import { type CairnError, levelProvider } from "@cairn/kv";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import { INDEX_VERSION } from "../../index/rows/index-state.ts";
import { readLogIdentity } from "../../log/log-identity.ts";
import type { System } from "../../api/system.ts";
import { checkAnchor } from "../../log/anchor.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { chooseLog, withCheckpointPlace } from "../places/checkpoint-place.ts";
import { formatTable } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  durationOption,
  type ConfiguredOptions,
  wholeNumber,
} from "../options/command-options.ts";
import { isConfigured } from "../options/configuration.ts";
import { formatBytes, formatCount, formatNumberOf, formatRelative } from "../../text/quantities.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type Output, type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { noStore } from "../places/checkpoint-source.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { noLog, withLog } from "../places/log-place.ts";

interface PruneCommandOptions extends ConfiguredOptions, StoreKeyOptions {
  readonly dryRun?: boolean;
  readonly log?: string;
  readonly otherLogs?: boolean;
  readonly lost?: boolean;
  readonly damaged?: boolean;
  readonly retainNewerThan?: number;
  readonly retainAtLeast?: number;
}

export const addCheckpointPrune: AddCommand = (parent, terminal) => {
  keyOptions(
    describeConfiguredCommand(
      parent.command("prune [folder]"),
      "Remove old checkpoints and leftovers from a folder, or from the configured store after comparing each with the log",
      [
        "cairn checkpoint prune ./cairn-data/checkpoints --retain-at-least 3 --dry-run",
        "cairn checkpoint prune -f cairn.edn --other-logs",
      ],
    ),
  )
    .option("--dry-run", "only print what would be removed or kept, and why")
    .option(
      "--retain-newer-than <duration>",
      "keep checkpoints younger than this (default: the configured policy)",
      durationOption("--retain-newer-than", 0),
    )
    .option(
      "--retain-at-least <count>",
      "keep this many of the newest checkpoints",
      wholeNumber("--retain-at-least", 1),
    )
    .option(
      "--log <id>",
      "the log to which the policy applies, if a folder contains checkpoints of several logs",
    )
    .option("--other-logs", "also remove the checkpoints of all other logs")
    .option("--lost", "with a configuration: also remove checkpoints with transactions that the log lost")
    .option("--damaged", "also remove checkpoints that cannot be used")
    .action(async (place: string | undefined, options: PruneCommandOptions) => {
      const done = await (place === undefined || isConfigured(options)
        ? withLog(options, terminal, (log, system) => pruneByLog(log, system, place, options, terminal))
        : inFolder(place, options, terminal, async (store) => {
            const logId = await chooseLog(store, options.log);
            const format = { index: INDEX_VERSION, kv: levelProvider().format };
            return await run({ store, format, ...policyOf(options), ...omitUndefined({ logId }) }, options);
          }));
      await report(done, options, terminal);
    });
};

interface Pruned {
  readonly plan: readonly PruneEntry[];
  readonly failed: readonly { readonly name: string; readonly error: CairnError }[];
}

/** Compares checkpoints with the log, and prunes the named folder or, if there is none, the configured store. */
async function pruneByLog(
  log: TxLog,
  { checkpointer, kvProvider }: System,
  place: string | undefined,
  options: PruneCommandOptions,
  terminal: Terminal,
): Promise<Pruned> {
  const asked = {
    format: { index: INDEX_VERSION, kv: kvProvider.format },
    ...(await logOptions(log, options)),
    ...policyOf(options, checkpointer),
  };
  if (place !== undefined) {
    return await inFolder(place, options, terminal, (store) => run({ store, ...asked }, options));
  }
  if (checkpointer === undefined) throw noStore();
  return await run({ store: checkpointer.store, ...asked }, options);
}

function inFolder(
  place: string,
  keys: StoreKeyOptions,
  terminal: Terminal,
  use: (store: CheckpointStore) => Promise<Pruned>,
): Promise<Pruned> {
  return withCheckpointPlace(place, keys, terminal, async ({ store, name }) => {
    if (name !== undefined) throw singleCheckpoint(name);
    return await use(store);
  });
}

async function run(
  asked: Omit<PruneOptions, "otherLogs" | "lost" | "damaged">,
  { dryRun = false, otherLogs = false, lost = false, damaged = false }: PruneCommandOptions,
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
  { log: wanted }: PruneCommandOptions,
): Promise<Pick<PruneOptions, "logId" | "agrees">> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log.name);
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

function policyOf(
  { retainNewerThan, retainAtLeast }: PruneCommandOptions,
  configured: { readonly retentionPolicy?: RetentionPolicy } = {},
): Pick<PruneOptions, "policy"> {
  const isGiven = retainNewerThan !== undefined || retainAtLeast !== undefined;
  const policy = isGiven ? omitUndefined({ retainNewerThan, retainAtLeast }) : configured.retentionPolicy;
  return omitUndefined({ policy });
}

async function report(
  { plan, failed }: Pruned,
  { json, dryRun = false }: PruneCommandOptions,
  terminal: Terminal,
): Promise<void> {
  const errors = new Map(failed.map(({ name, error }) => [name, error]));
  const removed = plan.filter(({ name, keep }) => !keep && !errors.has(name));
  const bytes = removed.reduce((sum, one) => sum + one.bytes, 0);
  if (json === true) {
    const entries = plan.map(({ log, ...entry }) => ({ ...entry, logId: log?.id ?? null }));
    const failures = failed.map(({ name, error: { code, message } }) => ({ name, code, message }));
    await writeJson(terminal.stdout, {
      dryRun,
      entries,
      removed: dryRun ? 0 : removed.length,
      bytes,
      failed: failures,
    });
  } else if (plan.length === 0) {
    await writeLine(terminal.stdout, "There is nothing to prune.");
  } else {
    await writeLine(terminal.stdout, table(plan, errors, dryRun, terminal.stdout));
    const verb = dryRun ? "would remove" : "removed";
    const entries = formatNumberOf(removed.length, "entry").replace("entrys", "entries");
    const what = removed.length === 0 ? "nothing" : `${entries}, ${formatBytes(bytes)}`;
    await writeLine(terminal.stdout, `${verb} ${what}; ${plan.length - removed.length} stay`);
  }
  const [first] = failed;
  if (first !== undefined) throw first.error;
}

function table(
  plan: readonly PruneEntry[],
  errors: ReadonlyMap<string, CairnError>,
  dryRun: boolean,
  output: Output,
): string {
  const now = Date.now();
  const rows = plan.map(({ name, txId, bytes, takenAt, keep, because }) => {
    const error = errors.get(name);
    const fate = keep ? "stays" : error !== undefined ? "failed" : dryRun ? "would be removed" : "removed";
    return [
      fate,
      name,
      txId === null ? "" : formatCount(txId),
      formatBytes(bytes),
      takenAt === null ? "" : formatRelative(takenAt, now),
      error === undefined ? because : `${error.code}: ${error.message}`,
    ];
  });
  return formatTable(["", "NAME", "TX", "SIZE", "TAKEN", "WHY"], rows, ["TX", "SIZE"], output);
}

function singleCheckpoint(name: string): UsageError {
  return new UsageError(
    `The path names ${name}, but prune decides among all checkpoints of a folder.`,
    "Name the folder. --dry-run prints what would be removed.",
  );
}
