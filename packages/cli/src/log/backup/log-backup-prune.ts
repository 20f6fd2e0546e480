import { pruneLogBackup } from "@cairn/engine";
import { formatBytes, formatCount, formatNumberOf } from "@cairn/text";
import { command } from "../../options/command.ts";
import { countValue, flag } from "../../options/option-specs.ts";
import { STORE_OPTIONS } from "../../places/store-keys.ts";
import { openBackup } from "../../places/backup-place.ts";
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
    ...STORE_OPTIONS,
    through: countValue(
      "<transaction>",
      "remove the segments up to this transaction; a verified checkpoint must cover it",
    ),
    lost: flag(
      "remove the transactions that the log lost; print them first with cairn log orphans --from-backup",
    ),
    dryRun: flag("only print what would be removed"),
  },
  async act(run, given) {
    const { through, lost: isLost, dryRun } = run.options;
    if ((through === undefined) === !isLost)
      throw new UsageError(
        "The command does not name what to remove.",
        "Add either --through TRANSACTION or --lost.",
      );
    const { store, configured } = await openBackup(run, given, { needsLog: true });
    if (configured === undefined)
      throw new UsageError(
        "This command compares the log backup with its log, so it needs a configuration.",
        "Specify the configuration of a node that writes the log with -f.",
      );
    const { log, identity, system } = configured;
    const signal = run.interruptible("segments may have been removed");
    const { segments, txId, inLog } = await pruneLogBackup({
      store,
      log,
      identity,
      through,
      dryRun,
      signal,
      kvFormat: system.kvProvider.format,
      node: run.node,
    });
    const bytes = segments.reduce((sum, one) => sum + one.bytes, 0);
    const last = Math.max(0, ...segments.map((one) => one.last));
    const lost = isLost && last > 0 ? { first: txId + 1, last } : null;
    const size = `${formatNumberOf(segments.length, "segment")}, ${formatBytes(bytes)}`;
    const what =
      lost === null
        ? `everything up to transaction ${formatCount(txId)}`
        : `${formatNumberOf(last - txId, "transaction")} that the log lost, ${formatCount(txId + 1)} to ${formatCount(last)}`;
    const done =
      segments.length > 0
        ? `${dryRun ? "would remove" : "removed"} ${what} (${size})`
        : `${dryRun ? "would record" : "recorded"} that the backup begins after transaction ${formatCount(txId)}`;
    const lines = lost === null ? `${done}\n${consequences(txId, inLog)}` : done;
    const isNothing = segments.length === 0 && (isLost || txId === 0);
    await run.answer(
      { dryRun, segments: segments.map(({ name }) => name), bytes, txId, lost, inLog },
      isNothing ? `There is nothing to prune in ${store.location}.` : lines,
    );
  },
});

/** Returns a sentence about what becomes impossible once everything up to a transaction is removed from a backup. */
function consequences(txId: number, inLog: boolean): string {
  const lost = `an index as of a transaction up to ${formatCount(txId)} can be restored only where a checkpoint ends`;
  return inLog
    ? `the log still holds these transactions; once it is trimmed, ${lost}`
    : `without them, ${lost}`;
}
