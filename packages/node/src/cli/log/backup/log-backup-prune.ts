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
import { formatBytes, formatCount, formatNumberOf } from "../../../text/quantities.ts";
import { command, type CommandRun } from "../../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../../options/configuration.ts";
import { countValue, flag } from "../../options/option-specs.ts";
import { KEY_OPTIONS } from "../../options/store-keys.ts";
import { type BackupPlace, pruneTarget, withBackup } from "../../places/backup-place.ts";
import { noLog } from "../../places/log-place.ts";
import { UsageError } from "../../terminal/report-error.ts";

export const addLogBackupPrune = command({
  syntax: "prune [store]",
  description:
    "Remove segments of a log backup earlier than the keep parameter would: from the beginning, to remove evicted documents, or from the end, to remove what the log lost",
  examples: [
    "cairn log backup prune --through 1200 --dry-run -f cairn.edn",
    "cairn log backup prune --lost -f cairn.edn",
  ],
  options: {
    ...CONFIGURATION_OPTIONS,
    ...KEY_OPTIONS,
    through: countValue(
      "<transaction>",
      "remove the segments up to this transaction; a verified checkpoint must cover it",
      1,
    ),
    lost: flag(
      "remove the transactions that the log lost; print them first with cairn log orphans --from-backup",
    ),
    dryRun: flag("only print what would be removed"),
  },
  async act(run, place) {
    const { through, lost: isLost, dryRun } = run.options;
    if ((through === undefined) === !isLost)
      throw new UsageError(
        "The command does not name what to remove.",
        "Add either --through TRANSACTION or --lost.",
      );
    const { store, plan, inLog } = await withBackup(run, place, (backup) =>
      prune(run, backup, through, dryRun),
    );
    const { segments, txId } = plan;
    const bytes = segments.reduce((sum, one) => sum + one.bytes, 0);
    const last = Math.max(0, ...segments.map((one) => one.last));
    const lost = isLost && last > 0 ? { first: txId + 1, last } : null;
    const size = `${formatNumberOf(segments.length, "segment")}, ${formatBytes(bytes)}`;
    const what =
      lost === null
        ? `everything up to transaction ${formatCount(txId)}`
        : `${formatNumberOf(last - txId, "transaction")} that the log lost, ${formatCount(txId + 1)} to ${formatCount(last)}`;
    const done = `${dryRun ? "would remove" : "removed"} ${what} (${size})`;
    const lines = lost === null ? `${done}\n${consequences(txId, inLog)}` : done;
    await run.answer(
      { dryRun, segments: segments.map(({ name }) => name), bytes, txId, lost, inLog },
      segments.length === 0 ? `There is nothing to prune in ${store}.` : lines,
    );
  },
});

/** Returns a sentence about what becomes impossible once everything up to a transaction is removed from a backup. */
function consequences(txId: number, inLog: boolean): string {
  const lost =
    `an index as of a transaction up to ${formatCount(txId)} can be restored only where a checkpoint ends, ` +
    "and an index of another version can no longer be built from the beginning";
  return inLog
    ? `the log still holds these transactions; once it is trimmed, ${lost}`
    : `without them, ${lost}`;
}

/** `inLog` is true if the log still holds everything that is removed from the beginning of its backup. */
async function prune(
  run: CommandRun,
  place: BackupPlace,
  through: number | undefined,
  dryRun: boolean,
): Promise<{ store: string; plan: BackupPrune; inLog: boolean }> {
  const { store, configured } = place;
  if (configured === undefined) {
    throw new UsageError(
      "This command compares the log backup with its log, so it needs a configuration.",
      "Specify the configuration of a node that writes the log with -f.",
    );
  }
  const signal = run.interruptible("segments may have been removed");
  const target = await pruneTarget(place, configured.log, signal);
  const plan =
    through === undefined
      ? await planLost(target)
      : await planThrough(target, through, await verifiedUpTo(target, configured));
  if (!dryRun && plan.segments.length > 0)
    await (through === undefined ? pruneLost(target, plan) : pruneThrough(target, plan));
  const [first = 1] = plan.segments.map((one) => one.first);
  const inLog = (await target.log.bounds()).first + target.of.offset <= first;
  return { store: store.location, plan, inLog };
}

async function verifiedUpTo(
  { store, log }: BackupTarget,
  { system }: NonNullable<BackupPlace["configured"]>,
): Promise<number | undefined> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log, system);
  const history = logWithBackup(log, [store]);
  const found = await newestUsable(
    { log: history, stores: [store], kvFormat: system.kvProvider.format },
    identity,
  );
  return "position" in found ? found.checkpoint.txId : undefined;
}
