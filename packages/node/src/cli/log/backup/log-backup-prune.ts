import {
  type BackupPrune,
  planLost,
  planThrough,
  pruneLost,
  pruneThrough,
} from "../../../backup/write/prune-backup.ts";
import { logWithBackup } from "../../../backup/log-with-backup.ts";
import type { BackupTarget } from "../../../backup/write/write-segments.ts";
import { readLogIdentity } from "../../../log/log-identity.ts";
import { newestUsable } from "../../../upkeep/trim-floor.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type OutputOptions,
  wholeNumber,
} from "../../options/command-options.ts";
import { type BackupOptions, type BackupPlace, pruneTarget, withBackup } from "../../places/backup-place.ts";
import { noLog } from "../../places/log-place.ts";
import { interruptible } from "../../terminal/interrupt.ts";
import { formatBytes, formatCount, formatNumberOf } from "../../../text/quantities.ts";
import { UsageError } from "../../terminal/report-error.ts";
import { keyOptions } from "../../options/store-keys.ts";
import { type Terminal, writeJson, writeLine } from "../../terminal/terminal.ts";

interface PruneOptions extends BackupOptions, OutputOptions {
  readonly through?: number;
  readonly lost?: boolean;
  readonly dryRun?: boolean;
}

export const addLogBackupPrune: AddCommand = (parent, terminal) => {
  keyOptions(
    describeConfiguredCommand(
      parent.command("prune [store]"),
      "Remove segments of a log backup earlier than the keep parameter would: from the beginning, to remove evicted documents, or from the end, to remove what the log lost",
      [
        "cairn log backup prune --through 1200 --dry-run -f cairn.edn",
        "cairn log backup prune --lost -f cairn.edn",
      ],
    ),
  )
    .option(
      "--through <transaction>",
      "remove the segments up to this transaction; a verified checkpoint must cover it",
      wholeNumber("--through", 1),
    )
    .option(
      "--lost",
      "remove the transactions that the log lost; print them first with cairn log orphans --from-backup",
    )
    .option("--dry-run", "only print what would be removed")
    .action(async (place: string | undefined, options: PruneOptions) => {
      if ((options.through === undefined) === (options.lost !== true))
        throw new UsageError(
          "The command does not name what to remove.",
          "Add either --through TRANSACTION or --lost.",
        );
      const { store, plan, inLog, dryRun } = await withBackup(place, options, terminal, (backup) =>
        prune(backup, options, terminal),
      );
      const { segments, txId } = plan;
      const bytes = segments.reduce((sum, one) => sum + one.bytes, 0);
      const names = segments.map(({ name }) => name);
      const last = Math.max(0, ...segments.map((one) => one.last));
      const transactions = options.lost === true && last > 0 ? { first: txId + 1, last } : null;
      if (options.json === true)
        return writeJson(terminal.stdout, {
          dryRun,
          segments: names,
          bytes,
          txId,
          lost: transactions,
          inLog,
        });
      if (names.length === 0) return writeLine(terminal.stdout, `There is nothing to prune in ${store}.`);
      const verb = dryRun ? "would remove" : "removed";
      const what =
        transactions === null
          ? `everything up to transaction ${formatCount(txId)}`
          : `${formatNumberOf(last - txId, "transaction")} that the log lost, ${formatCount(txId + 1)} to ${formatCount(last)}`;
      const size = `${formatNumberOf(names.length, "segment")}, ${formatBytes(bytes)}`;
      await writeLine(terminal.stdout, `${verb} ${what} (${size})`);
      if (transactions === null) await writeLine(terminal.stdout, consequences(txId, inLog));
    });
};

interface Pruned {
  readonly store: string;
  readonly plan: BackupPrune;
  /** True if the log still holds everything that is removed from the beginning of its backup. */
  readonly inLog: boolean;
  readonly dryRun: boolean;
}

/** Returns a sentence about what becomes impossible once everything up to a transaction is removed from a backup. */
function consequences(txId: number, inLog: boolean): string {
  const lost =
    `an index as of a transaction up to ${formatCount(txId)} can be restored only where a checkpoint ends, ` +
    "and an index of another version can no longer be built from the beginning";
  return inLog
    ? `the log still holds these transactions; once it is trimmed, ${lost}`
    : `without them, ${lost}`;
}

async function prune(
  place: BackupPlace,
  { through, dryRun = false }: PruneOptions,
  terminal: Terminal,
): Promise<Pruned> {
  const { store, configured } = place;
  if (configured === undefined) {
    throw new UsageError(
      "This command compares the log backup with its log, so it needs a configuration.",
      "Specify the configuration of a node that writes the log with -f.",
    );
  }
  const { signal, forget } = interruptible(terminal, "segments may have been removed");
  try {
    const target = await pruneTarget(place, configured.log, signal);
    const plan =
      through === undefined
        ? await planLost(target)
        : await planThrough(target, through, await verifiedUpTo(target, configured));
    if (!dryRun && plan.segments.length > 0)
      await (through === undefined ? pruneLost(target, plan) : pruneThrough(target, plan));
    const [first = 1] = plan.segments.map((one) => one.first);
    const inLog = (await target.log.bounds()).first + target.of.offset <= first;
    return { store: store.location, plan, inLog, dryRun };
  } finally {
    forget();
  }
}

async function verifiedUpTo(
  { store, log }: BackupTarget,
  { system }: NonNullable<BackupPlace["configured"]>,
): Promise<number | undefined> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log.name, system);
  const history = logWithBackup(log, [store]);
  const found = await newestUsable(
    { log: history, stores: [store], kvFormat: system.kvProvider.format },
    identity,
  );
  return "position" in found ? found.checkpoint.txId : undefined;
}
