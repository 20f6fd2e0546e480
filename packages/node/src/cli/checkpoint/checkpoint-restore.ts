import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { restoreCheckpoint, type RestoreResult } from "@cairn/checkpoint";
import { systemErrorCode } from "@cairn/kv";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import { formatBytes, formatCount, formatNumberOf } from "../../text/quantities.ts";
import { command, type CommandRun } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag, type OptionValues, OUTPUT, textValue } from "../options/option-specs.ts";
import { POINT_OPTIONS, pointOf } from "../options/past-point.ts";
import { KEY_OPTIONS } from "../options/store-keys.ts";
import { type CheckpointPlace, chooseLog } from "../places/checkpoint-place.ts";
import { withCheckpoints } from "../places/checkpoint-source.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable } from "../terminal/terminal.ts";
import { restoreAt } from "./checkpoint-restore-at.ts";
import {
  noneOf,
  notExact,
  planRestore,
  type RestoreSelection,
  tooNew,
  writeRestorePlan,
} from "./restore-plan.ts";

const RESTORE_OPTIONS = {
  ...CONFIGURATION_OPTIONS,
  ...KEY_OPTIONS,
  ...POINT_OPTIONS,
  name: textValue("<name>", "restore this checkpoint instead of the newest one"),
  log: textValue(
    "<id>",
    "consider only checkpoints of this log, if a folder contains checkpoints of several logs",
  ),
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
    const tell = (notice: string | undefined): void => {
      if (notice !== undefined) terminal.stderr.write(notice);
    };
    const within = <T>(use: (found: CheckpointPlace) => Promise<T>): Promise<T> =>
      withCheckpoints(run, place, use);
    if (at !== undefined) {
      if (await within((found) => restoreAt(run, found, at, target))) return;
      await run.end();
    }
    if (options.dryRun) {
      return await within(async (found) => {
        const plan = await planRestore(await select(run, found), target);
        if (plan.chosen !== null) tell(notExact(plan.chosen, at));
        await writeRestorePlan(plan, at, options, terminal);
      });
    }
    const { name, manifest } = await within((found) => restore(run, found, target));
    const { txId, files } = manifest;
    tell(notExact(manifest, at));
    const exact = at === undefined ? {} : { exact: "txId" in at && at.txId === txId };
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const size = `${formatNumberOf(files.length, "file")}, ${formatBytes(bytes)}`;
    return await run.answer(
      { name, txId, ...exact, directory: target },
      `restored ${name} (transaction ${formatCount(txId)}) to ${options.output}: ${size}, all verified`,
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

async function restore(
  run: RestoreRun,
  found: CheckpointPlace,
  targetDir: string,
): Promise<NonNullable<RestoreResult["restored"]>> {
  const { terminal } = run;
  const selection = await select(run, found);
  const { store, name, logId, at } = selection;
  // The staging folder is next to the target, because the last step is a rename, which works only within one file
  // system.
  const stagingDir = join(dirname(targetDir), `.cairn-restore-${randomBytes(4).toString("hex")}`);
  run.defer(() => removeStaging(stagingDir));
  const signal = run.interruptible("nothing was restored");
  const display = showRestore(terminal, "restoring");
  run.defer(display.stop);
  const { restored, skipped } = await restoreCheckpoint({
    stores: [store],
    stagingDir,
    targetDir,
    node: `cairn checkpoint restore on ${hostname()}`,
    ...omitUndefined({ name, logId }),
    accept: (manifest) => Promise.resolve(tooNew(manifest, at) ?? true),
    onProgress: display.onProgress,
    onSkipped: (one) => {
      // A checkpoint of another log, or one beyond the given transaction, is not faulty and therefore not reported.
      if (one.error.code === "LOG_DIFFERENT" || one.error.code === "CONFLICT") return;
      terminal.stderr.write(`skipped ${one.name}: ${one.error.code}: ${printable(one.error.message)}\n`);
    },
    signal,
  });
  display.stop();
  const named = skipped.find((one) => one.name === name);
  if (restored === undefined) throw named?.error ?? noneOf(selection, skipped);
  return restored;
}

async function removeStaging(dir: string): Promise<void> {
  try {
    await rm(dir, { recursive: true, force: true });
  } catch (error) {
    // If one of the target's parent folders is a file, nothing was created, and the error that reports this must not be
    // replaced.
    if (systemErrorCode(error) !== "ENOTDIR") throw error;
  }
}
