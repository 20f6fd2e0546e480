import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { restoreCheckpoint, type RestoreResult } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { type CheckpointPlace, noCheckpoint, withCheckpointPlace } from "../checkpoint-place.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../command-options.ts";
import { type ProgressDisplay, showProgress } from "../progress-display.ts";
import { formatBytes, formatCount, formatNumberOf } from "../quantities.ts";
import { UsageError } from "../report-error.ts";
import { type Terminal, writeJson, writeLine } from "../terminal.ts";

interface RestoreCommandOptions extends OutputOptions {
  readonly name?: string;
  readonly output: string;
}

/** `cairn checkpoint restore`. */
export const addCheckpointRestore: AddCommand = (parent, terminal) => {
  describeCommand(
    parent.command("restore <store>"),
    "Write the index files of the newest checkpoint of a folder, verified, to a new directory",
    ["cairn checkpoint restore ./cairn-data/checkpoints -o ./restored"],
  )
    .option("--name <name>", "not the newest, but this one")
    .requiredOption("-o, --output <directory>", "where to; must not exist or be empty")
    .action(async (place: string, options: RestoreCommandOptions) => {
      const target = resolve(terminal.cwd, options.output);
      const restored = await withCheckpointPlace(place, terminal, (found) =>
        restore(found, target, options, terminal),
      );
      const { name, manifest } = restored;
      if (options.json === true) {
        return writeJson(terminal.stdout, { name, txId: manifest.txId, directory: target });
      }
      const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      return writeLine(
        terminal.stdout,
        `restored ${name} (transaction ${formatCount(manifest.txId)}) to ${options.output}: ` +
          `${formatNumberOf(manifest.files.length, "file")}, ${formatBytes(bytes)}, all verified`,
      );
    });
};

async function restore(
  { store, name: inPlace }: CheckpointPlace,
  targetDir: string,
  options: RestoreCommandOptions,
  terminal: Terminal,
): Promise<NonNullable<RestoreResult["restored"]>> {
  if (inPlace !== undefined && options.name !== undefined && inPlace !== options.name) {
    throw new UsageError(`The path names ${inPlace}, and --name another one.`);
  }
  const name = options.name ?? inPlace;
  const interrupt = new AbortController();
  const forget = terminal.onSignal(["SIGINT"], () => interrupt.abort(interrupted()));
  // Beside the target: the last step is a rename, which needs one file system.
  const stagingDir = join(dirname(targetDir), `.cairn-restore-${randomBytes(4).toString("hex")}`);
  let display: ProgressDisplay | undefined;
  try {
    const { restored, skipped } = await restoreCheckpoint({
      stores: [store],
      stagingDir,
      targetDir,
      node: `cairn checkpoint restore on ${hostname()}`,
      ...(name === undefined ? {} : { name }),
      accept: () => Promise.resolve(true),
      onProgress: ({ done, total, name: current }) => {
        display ??= showProgress(terminal.stderr, "restoring", total);
        display.update(done, current);
      },
      onSkipped: (one) => {
        terminal.stderr.write(`skipped ${one.name}: ${one.error.code}: ${one.error.message}\n`);
      },
      signal: interrupt.signal,
    });
    const named = skipped.find((one) => one.name === name);
    if (restored === undefined) throw named?.error ?? noCheckpoint(store, name, skipped);
    return restored;
  } finally {
    display?.stop();
    forget();
    await rm(stagingDir, { recursive: true, force: true });
  }
}

function interrupted(): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", "Interrupted; nothing was restored.");
}
