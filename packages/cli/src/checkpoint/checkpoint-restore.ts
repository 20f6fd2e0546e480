import { dirname, resolve } from "node:path";
import type { SkippedCheckpoint } from "@cairn/checkpoint";
import { diskError, systemErrorCode } from "@cairn/kv";
import { formatBytes, formatCount, formatNumberOf, omitUndefined } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { flag, type OptionValues, OUTPUT, textValue } from "../options/option-specs.ts";
import { POINT_OPTIONS, pointOf } from "../places/past-point.ts";
import { STORE_OPTIONS } from "../places/store-keys.ts";
import {
  CHECKPOINT_LOG,
  type CheckpointPlace,
  chooseLog,
  openCheckpoints,
} from "../places/checkpoint-place.ts";
import { restoreShown } from "../places/restored-checkpoint.ts";
import { workFolder } from "../places/staging-folder.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable } from "../terminal/terminal.ts";
import { restoreAt } from "./checkpoint-restore-at.ts";
import {
  beyondCheckpoint,
  noneOf,
  notExact,
  planRestore,
  type RestoreSelection,
  tooNew,
} from "./restore-plan.ts";

const RESTORE_OPTIONS = {
  ...STORE_OPTIONS,
  ...POINT_OPTIONS,
  name: {
    ...textValue("<name>", "restore this checkpoint instead of the newest one"),
    conflicts: ["atTx", "at"],
  },
  log: CHECKPOINT_LOG,
  dryRun: flag(
    "only print which checkpoint would be restored, which ones are skipped and why, and whether there is enough space",
  ),
  output: OUTPUT,
};

type RestoreRun = CommandRun<OptionValues<typeof RESTORE_OPTIONS>>;

export const addCheckpointRestore = command({
  syntax: "restore [store]",
  description:
    "Restore the newest checkpoint of a folder or of the configured store, or an index as of a point in the past, to a new directory, and verify it",
  examples: [
    "cairn checkpoint restore -f cairn.edn -o ./restored",
    "cairn checkpoint restore ./cairn-data/checkpoints -o ./restored",
    "cairn checkpoint restore ./cairn-data/checkpoints --at-tx 1200 -o ./restored --dry-run",
  ],
  options: RESTORE_OPTIONS,
  async act(run, place) {
    const { options, terminal } = run;
    const target = resolve(terminal.cwd, options.output);
    const at = pointOf(options);
    const found = await openCheckpoints(run, place);
    run.interruptible("nothing was restored");
    // The last step replaces the target, which may be a mount point.
    run.explained = (error) => (systemErrorCode(error) === "EBUSY" ? diskError(error, target) : error);
    if (at !== undefined && (await restoreAt(run, found, at, target))) return;
    const selection = await select(run, found);
    if (options.dryRun) return await planRestore(run, selection, target);
    const { store, name, logId } = selection;
    const skipped: SkippedCheckpoint[] = [];
    const { restored } = await restoreShown(run, {
      verb: "restoring",
      stores: [store],
      stagingDir: await workFolder(run, dirname(target), "restore"),
      targetDir: target,
      ...omitUndefined({ name, logId }),
      accept: (manifest) => Promise.resolve(tooNew(manifest, at) ?? true),
      onSkipped: (one) => {
        skipped.push(one);
        // A checkpoint of another log, or one beyond the given transaction, is not faulty and therefore not reported.
        if (one.error.code === "LOG_DIFFERENT" || one.error.code === "CONFLICT") return;
        terminal.stderr.write(`skipped ${one.name}: ${one.error.code}: ${printable(one.error.message)}\n`);
      },
    });
    if (restored === undefined) throw noneOf(selection, skipped);
    const { txId, files } = restored.manifest;
    const exact = {
      ...notExact(run, txId, at),
      ...(at === undefined ? await beyondCheckpoint(run, store, restored.manifest) : {}),
    };
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const size = `${formatNumberOf(files.length, "file")}, ${formatBytes(bytes)}`;
    return await run.answer(
      { name: restored.name, txId, ...exact, directory: target },
      `restored ${restored.name} (transaction ${formatCount(txId)}) to ${options.output}: ${size}, all verified`,
    );
  },
});

/** Returns the checkpoints that the command line selects. */
async function select(
  { options }: RestoreRun,
  { store, name: inPlace }: CheckpointPlace,
): Promise<RestoreSelection> {
  if (inPlace !== undefined && options.name !== undefined && inPlace !== options.name) {
    throw new UsageError(`The path names ${inPlace}, and --name names a different one.`);
  }
  const name = options.name ?? inPlace;
  if (name !== undefined) return { store, name };
  const logId = await chooseLog(store, options.log);
  return { store, ...omitUndefined({ logId, at: pointOf(options) }) };
}
