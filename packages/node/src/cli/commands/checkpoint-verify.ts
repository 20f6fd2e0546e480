import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CairnError, levelProvider } from "@cairn/kv";
import { type VerifiedCheckpoint, verifyCheckpoint } from "../../upkeep/verify-checkpoint.ts";
import { type CheckpointPlace, findCheckpoint, withCheckpointPlace } from "../checkpoint-place.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../command-options.ts";
import { type ProgressDisplay, showProgress } from "../progress-display.ts";
import { formatCount } from "../quantities.ts";
import { type Terminal, writeJson, writeLine } from "../terminal.ts";

interface VerifyCommandOptions extends OutputOptions {
  readonly mark: boolean;
  readonly staging?: string;
}

/** `cairn checkpoint verify`. */
export const addCheckpointVerify: AddCommand = (parent, terminal) => {
  describeCommand(
    parent.command("verify <checkpoint>"),
    "Read a checkpoint back (of a folder: its newest), open it, digest its content, and mark it as verified",
    ["cairn checkpoint verify ./cairn-data/checkpoints", "cairn checkpoint verify /mnt/cp --no-mark"],
  )
    .option("--no-mark", "write nothing into the folder")
    .option("--staging <directory>", "where to unpack it meanwhile (default: the system's temporary folder)")
    .action(async (place: string, options: VerifyCommandOptions) => {
      const found = await withCheckpointPlace(place, terminal, (at) => verify(at, options, terminal));
      const { name, manifest, digest, verification } = found;
      const verifiedAt = verification?.verifiedAt ?? null;
      if (options.json === true) {
        return writeJson(terminal.stdout, { name, txId: manifest.txId, digest, verifiedAt });
      }
      const marked = verification === null ? "not marked" : "marked as verified";
      return writeLine(
        terminal.stdout,
        `${name} is whole (transaction ${formatCount(manifest.txId)}, ${digest}); ${marked}`,
      );
    });
};

async function verify(
  { store, name }: CheckpointPlace,
  { mark, staging }: VerifyCommandOptions,
  terminal: Terminal,
): Promise<VerifiedCheckpoint> {
  const checkpoint = await findCheckpoint(store, name);
  const interrupt = new AbortController();
  const forget = terminal.onSignal(["SIGINT"], () => interrupt.abort(interrupted()));
  const parent = staging === undefined ? tmpdir() : resolve(terminal.cwd, staging);
  const stagingDir = await mkdtemp(join(parent, "cairn-verify-"));
  let display: ProgressDisplay | undefined;
  try {
    return await verifyCheckpoint({
      store,
      name: checkpoint.name,
      provider: levelProvider(),
      stagingDir,
      node: `cairn checkpoint verify on ${hostname()}`,
      mark,
      onProgress: ({ done, total, name: current }) => {
        display ??= showProgress(terminal.stderr, "verifying", total);
        display.update(done, current);
      },
      signal: interrupt.signal,
    });
  } finally {
    display?.stop();
    forget();
    await rm(stagingDir, { recursive: true, force: true });
  }
}

function interrupted(): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", "Interrupted; nothing was verified.");
}
