import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import type { CheckpointListing, CheckpointStore } from "@cairn/checkpoint";
import { type KvProvider, levelProvider } from "@cairn/kv";
import type { VerifiedSummary } from "@cairn/client";
import { readLogIdentity } from "../../log/log-identity.ts";
import type { TxLog } from "../../log/tx-log.ts";
import {
  readBack,
  type ReadCheckpoint,
  type VerifiedCheckpoint,
  verifyCheckpoint,
} from "../../checkpoints/verify-checkpoint.ts";
import { type CheckpointPlace, chooseCheckpoint, withCheckpointPlace } from "../places/checkpoint-place.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { isConfigured } from "../options/configuration.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { formatCount } from "../../text/quantities.ts";
import { checkpointSource, noStore } from "../places/checkpoint-source.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { stagingFolder } from "../places/staging-folder.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { noLog, withLog } from "../places/log-place.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { interruptible } from "../terminal/interrupt.ts";

interface VerifyCommandOptions extends NodeOptions, StoreKeyOptions {
  readonly mark: boolean;
  readonly log?: string;
  readonly staging?: string;
}

/** `verifiedAt` is null if no mark was written. `log` is the result of comparing the checkpoint with its log. */
interface Verified extends Pick<VerifiedSummary, "name" | "txId" | "digest"> {
  readonly verifiedAt: string | null;
  readonly log?: ReadCheckpoint["log"];
}

/** The location of a checkpoint, and the log and key-value store of the configuration, if there is one. */
interface Target {
  readonly place: CheckpointPlace;
  readonly log?: TxLog;
  readonly provider: KvProvider;
}

/** Adds `cairn checkpoint verify`. */
export const addCheckpointVerify: AddCommand = (parent, terminal) => {
  keyOptions(
    describeNodeCommand(
      parent.command("verify [checkpoint]"),
      "Read a checkpoint back, open it, compute its digest and mark it as verified; a node does this unless a path (for a folder, the newest checkpoint in it) or a configuration (-f) is given",
      [
        "cairn checkpoint verify ./cairn-data/checkpoints",
        "cairn checkpoint verify -f cairn.edn",
        "cairn checkpoint verify --url http://10.0.0.7:3000",
      ],
    ),
  )
    .option("--no-mark", "without a node: write no mark into the store")
    .option(
      "--log <id>",
      "consider only checkpoints of this log, if a folder contains checkpoints of several logs",
    )
    .option(
      "--staging <directory>",
      "without a node: the folder in which to unpack the checkpoint (default: the temporary folder)",
    )
    .addHelpText(
      "after",
      "\nWith a configuration, no node is needed, and the checkpoint (by default the newest in the configured store) is also compared with its log.",
    )
    .action(async (place: string | undefined, options: VerifyCommandOptions) => {
      const found = await verifyWhere(place, options, terminal);
      if (options.json === true) return writeJson(terminal.stdout, found);
      const { name, txId, digest, verifiedAt, log } = found;
      const parts = [
        `${name} is intact (transaction ${formatCount(txId)}, ${digest})`,
        ...(log === "agrees" ? ["it agrees with the log"] : []),
        ...(log === "trimmed" ? ["it was not compared with the log, which has been trimmed past it"] : []),
        verifiedAt === null ? "not marked" : "marked as verified",
      ];
      return writeLine(terminal.stdout, parts.join("; "));
    });
};

function verifyWhere(
  place: string | undefined,
  options: VerifyCommandOptions,
  terminal: Terminal,
): Promise<Verified> {
  const from = checkpointSource(place, options);
  if (from.kind === "node") {
    return withNode(terminal, options, (node) => verifyInNode(node, from.name ?? "newest"));
  }
  if (from.kind === "path" && !isConfigured(options)) {
    return withCheckpointPlace(from.path, options, terminal, (at) =>
      verify({ place: at, provider: levelProvider() }, options, terminal),
    );
  }
  return withLog(options, terminal, async (log, { checkpointer, kvProvider: provider }) => {
    if (from.kind === "path") {
      return await withCheckpointPlace(from.path, options, terminal, (at) =>
        verify({ place: at, log, provider }, options, terminal),
      );
    }
    if (checkpointer === undefined) throw noStore();
    const found = { store: checkpointer.store, name: from.name };
    return await verify({ place: found, log, provider }, options, terminal);
  });
}

async function verifyInNode(node: NodeClient, name: string): Promise<Verified> {
  const path = `/api/v1/checkpoints/${encodeURIComponent(name)}/verify`;
  return (await node.json({ method: "POST", path })) as VerifiedSummary;
}

async function verify(
  { place: { store, name }, log, provider }: Target,
  { mark, staging, log: logId }: VerifyCommandOptions,
  terminal: Terminal,
): Promise<Verified> {
  const checkpoint = await whichCheckpoint(store, name, { provider, ...(log && { log }) }, logId);
  const stagingDir = await stagingFolder(staging, "cairn-verify-", terminal);
  const { signal, forget } = interruptible(terminal, "nothing was verified");
  const display = showRestore(terminal, "verifying");
  try {
    const target = {
      store,
      name: checkpoint.name,
      provider,
      log,
      stagingDir,
      node: `cairn checkpoint verify on ${hostname()}`,
      onProgress: display.onProgress,
      signal,
    };
    const found: ReadCheckpoint & Partial<VerifiedCheckpoint> = await (mark
      ? verifyCheckpoint(target)
      : readBack(target));
    const verifiedAt = found.verification?.verifiedAt ?? null;
    const { manifest, digest, log: compared } = found;
    return { name: checkpoint.name, txId: manifest.txId, digest, verifiedAt, log: compared };
  } finally {
    display.stop();
    forget();
    await rm(stagingDir, { recursive: true, force: true });
  }
}

/**
 * Returns the named checkpoint or, without a name, the best one of a log: the given log, otherwise the configured log,
 * otherwise the only log in the store.
 */
async function whichCheckpoint(
  store: CheckpointStore,
  name: string | undefined,
  { log, provider: { format: kvFormat } }: Omit<Target, "place">,
  asked: string | undefined,
): Promise<CheckpointListing> {
  if (name !== undefined || asked !== undefined || log === undefined)
    return await chooseCheckpoint(store, name, { ask: { asked }, kvFormat });
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log);
  return await chooseCheckpoint(store, undefined, { logId: identity.id, kvFormat });
}
