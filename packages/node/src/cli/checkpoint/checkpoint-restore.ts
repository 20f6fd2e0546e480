import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { restoreCheckpoint, type RestoreResult } from "@cairn/checkpoint";
import { systemErrorCode } from "@cairn/kv";
import { omitUndefined } from "../../config/source/omit-undefined.ts";
import { type CheckpointPlace, chooseLog } from "../places/checkpoint-place.ts";
import { withCheckpoints } from "../places/checkpoint-source.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import {
  type AddCommand,
  type ConfiguredOptions,
  describeConfiguredCommand,
} from "../options/command-options.ts";
import { addPointOptions, type PointOptions, pointOf } from "../options/past-point.ts";
import { formatBytes, formatCount, formatNumberOf } from "../../text/quantities.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import { restoreAt } from "./checkpoint-restore-at.ts";
import {
  noneOf,
  notExact,
  planRestore,
  type RestoreSelection,
  writeRestorePlan,
  tooNew,
} from "./restore-plan.ts";
import { printable, type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { interruptible } from "../terminal/interrupt.ts";

interface RestoreCommandOptions extends ConfiguredOptions, StoreKeyOptions, PointOptions {
  readonly name?: string;
  readonly log?: string;
  readonly dryRun?: boolean;
  readonly output: string;
}

export const addCheckpointRestore: AddCommand = (parent, terminal) => {
  const command = describeConfiguredCommand(
    parent.command("restore [store]"),
    "Restore the newest checkpoint of a folder or of the configured store, or an index as of a point in the past, to a new directory, and verify it",
    [
      "cairn checkpoint restore -f cairn.edn -o ./restored",
      "cairn checkpoint restore ./cairn-data/checkpoints -o ./restored",
      "cairn checkpoint restore ./cairn-data/checkpoints --at-tx 1200 -o ./restored --dry-run",
    ],
  );
  addPointOptions(keyOptions(command))
    .option("--name <name>", "restore this checkpoint instead of the newest one")
    .option(
      "--log <id>",
      "consider only checkpoints of this log, if a folder contains checkpoints of several logs",
    )
    .option(
      "--dry-run",
      "only print which checkpoint would be restored, which ones are skipped and why, and whether there is enough space",
    )
    .requiredOption("-o, --output <directory>", "the target, which must be empty or not exist")
    .action(async (place: string | undefined, options: RestoreCommandOptions) => {
      const target = resolve(terminal.cwd, options.output);
      const at = pointOf(options);
      const tell = (notice: string | undefined): void => {
        if (notice !== undefined) terminal.stderr.write(notice);
      };
      if (at !== undefined) {
        const isDone = await withCheckpoints(
          place,
          options,
          terminal,
          async (found) => await restoreAt(found, at, target, options, terminal),
        );
        if (isDone) return;
      }
      if (options.dryRun === true) {
        return await withCheckpoints(place, options, terminal, async (found) => {
          const plan = await planRestore(await select(found, options), target);
          if (plan.chosen !== null) tell(notExact(plan.chosen, at));
          await writeRestorePlan(plan, at, options, terminal);
        });
      }
      const restored = await withCheckpoints(place, options, terminal, (found) =>
        restore(found, target, options, terminal),
      );
      const { name, manifest } = restored;
      tell(notExact(manifest, at));
      if (options.json === true) {
        const { txId } = manifest;
        const exact = at === undefined ? {} : { exact: "txId" in at && at.txId === txId };
        return writeJson(terminal.stdout, { name, txId, ...exact, directory: target });
      }
      const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      return writeLine(
        terminal.stdout,
        `restored ${name} (transaction ${formatCount(manifest.txId)}) to ${options.output}: ` +
          `${formatNumberOf(manifest.files.length, "file")}, ${formatBytes(bytes)}, all verified`,
      );
    });
};

/** Returns the checkpoints that the command line selects. */
async function select(
  { store, name: inPlace }: CheckpointPlace,
  options: RestoreCommandOptions,
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
  found: CheckpointPlace,
  targetDir: string,
  options: RestoreCommandOptions,
  terminal: Terminal,
): Promise<NonNullable<RestoreResult["restored"]>> {
  const selection = await select(found, options);
  const { store, name, logId, at } = selection;
  const { signal, forget } = interruptible(terminal, "nothing was restored");
  // The staging folder is next to the target, because the last step is a rename, which works only within one file
  // system.
  const stagingDir = join(dirname(targetDir), `.cairn-restore-${randomBytes(4).toString("hex")}`);
  const display = showRestore(terminal, "restoring");
  try {
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
    const named = skipped.find((one) => one.name === name);
    if (restored === undefined) throw named?.error ?? noneOf(selection, skipped);
    return restored;
  } finally {
    display.stop();
    forget();
    await removeStaging(stagingDir);
  }
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
