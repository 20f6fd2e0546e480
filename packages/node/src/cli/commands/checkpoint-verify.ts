import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { RestoreProgress } from "@cairn/checkpoint";
import { CairnError, levelProvider } from "@cairn/kv";
import type { VerifiedSummary } from "../../node-api.ts";
import {
  readBack,
  type ReadCheckpoint,
  type VerifiedCheckpoint,
  verifyCheckpoint,
} from "../../upkeep/verify-checkpoint.ts";
import { type CheckpointPlace, findCheckpoint, withCheckpointPlace } from "../checkpoint-place.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions, withNode } from "../command-options.ts";
import type { NodeClient } from "../node-client.ts";
import { type ProgressDisplay, showProgress } from "../progress-display.ts";
import { formatCount } from "../quantities.ts";
import { type Terminal, writeJson, writeLine } from "../terminal.ts";

interface VerifyCommandOptions extends NodeOptions {
  readonly mark: boolean;
  readonly staging?: string;
}

/** `verifiedAt` is null where no mark was asked for. */
type Verified = Pick<VerifiedSummary, "name" | "txId" | "digest"> & { readonly verifiedAt: string | null };

/** `cairn checkpoint verify`. */
export const addCheckpointVerify: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("verify [checkpoint]"),
    "Read a checkpoint back, open it, digest its content, and mark it: a path (of a folder: its newest), else by a node",
    [
      "cairn checkpoint verify ./cairn-data/checkpoints",
      "cairn checkpoint verify --url http://10.0.0.7:3000",
    ],
  )
    .option("--no-mark", "of a path: write nothing into the folder")
    .option(
      "--staging <directory>",
      "of a path: where to unpack it meanwhile (default: the temporary folder)",
    )
    .action(async (place: string | undefined, options: VerifyCommandOptions) => {
      // A checkpoint's name has no slash; what has one, or does not begin like a name, is a path.
      const inNode = place === undefined || (place.startsWith("checkpoint-") && !place.includes("/"));
      const found = await (inNode
        ? withNode(terminal, options, (node) => verifyInNode(node, place ?? "newest"))
        : withCheckpointPlace(place, terminal, (at) => verify(at, options, terminal)));
      if (options.json === true) return writeJson(terminal.stdout, found);
      const { name, txId, digest, verifiedAt } = found;
      const marked = verifiedAt === null ? "not marked" : "marked as verified";
      return writeLine(
        terminal.stdout,
        `${name} is whole (transaction ${formatCount(txId)}, ${digest}); ${marked}`,
      );
    });
};

async function verifyInNode(node: NodeClient, name: string): Promise<Verified> {
  const path = `/api/v1/checkpoints/${encodeURIComponent(name)}/verify`;
  return (await node.json({ method: "POST", path })) as VerifiedSummary;
}

async function verify(
  { store, name }: CheckpointPlace,
  { mark, staging }: VerifyCommandOptions,
  terminal: Terminal,
): Promise<Verified> {
  const checkpoint = await findCheckpoint(store, name);
  const interrupt = new AbortController();
  const forget = terminal.onSignal(["SIGINT"], () => interrupt.abort(interrupted()));
  const parent = staging === undefined ? tmpdir() : resolve(terminal.cwd, staging);
  const stagingDir = await mkdtemp(join(parent, "cairn-verify-"));
  let display: ProgressDisplay | undefined;
  try {
    const target = {
      store,
      name: checkpoint.name,
      provider: levelProvider(),
      stagingDir,
      node: `cairn checkpoint verify on ${hostname()}`,
      onProgress: ({ done, total, name: current }: RestoreProgress) => {
        display ??= showProgress(terminal.stderr, "verifying", total);
        display.update(done, current);
      },
      signal: interrupt.signal,
    };
    const { manifest, digest, ...marked }: ReadCheckpoint & Partial<VerifiedCheckpoint> = await (mark
      ? verifyCheckpoint(target)
      : readBack(target));
    const verifiedAt = marked.verification?.verifiedAt ?? null;
    return { name: checkpoint.name, txId: manifest.txId, digest, verifiedAt };
  } finally {
    display?.stop();
    forget();
    await rm(stagingDir, { recursive: true, force: true });
  }
}

function interrupted(): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", "Interrupted; nothing was verified.");
}
