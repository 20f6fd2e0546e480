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
import { formatCount } from "../../text/quantities.ts";
import { command, type CommandRun } from "../options/command.ts";
import { isConfigured } from "../options/configuration.ts";
import { askNode, NODE_OPTIONS } from "../options/node-address.ts";
import { type OptionValues, textValue } from "../options/option-specs.ts";
import { KEY_OPTIONS } from "../options/store-keys.ts";
import { checkpointSource, noStore } from "../places/checkpoint-source.ts";
import { showRestore } from "../places/restored-checkpoint.ts";
import { stagingFolder } from "../places/staging-folder.ts";
import { noLog, withLog } from "../places/log-place.ts";

const VERIFY = {
  ...NODE_OPTIONS,
  ...KEY_OPTIONS,
  mark: { description: "without a node: write no mark into the store", negated: true },
  log: textValue(
    "<id>",
    "consider only checkpoints of this log, if a folder contains checkpoints of several logs",
  ),
  staging: textValue(
    "<directory>",
    "without a node: the folder in which to unpack the checkpoint (default: the temporary folder)",
  ),
} as const;

type VerifyRun = CommandRun<OptionValues<typeof VERIFY>>;

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

export const addCheckpointVerify = command({
  syntax: "verify [checkpoint]",
  description:
    "Read a checkpoint back, open it, compute its digest and mark it as verified; a node does this unless a path (for a folder, the newest checkpoint in it) or a configuration (-f) is given",
  examples: [
    "cairn checkpoint verify ./cairn-data/checkpoints",
    "cairn checkpoint verify -f cairn.edn",
    "cairn checkpoint verify --url http://10.0.0.7:3000",
  ],
  options: VERIFY,
  note: "With a configuration, no node is needed, and the checkpoint (by default the newest in the configured store) is also compared with its log.",
  async act(run, place) {
    const found = await verifyWhere(run, place);
    const { name, txId, digest, verifiedAt, log } = found;
    const parts = [
      `${name} is intact (transaction ${formatCount(txId)}, ${digest})`,
      ...(log === "agrees" ? ["it agrees with the log"] : []),
      ...(log === "trimmed" ? ["it was not compared with the log, which has been trimmed past it"] : []),
      verifiedAt === null ? "not marked" : "marked as verified",
    ];
    await run.answer(found, parts.join("; "));
  },
});

async function verifyWhere(run: VerifyRun, place: string | undefined): Promise<Verified> {
  const { options, terminal } = run;
  const from = checkpointSource(place, options);
  if (from.kind === "node") {
    const path = `/api/v1/checkpoints/${encodeURIComponent(from.name ?? "newest")}/verify`;
    return await askNode<VerifiedSummary>(run, { method: "POST", path });
  }
  if (from.kind === "path" && !isConfigured(options)) {
    return await withCheckpointPlace(from.path, options, terminal, (at) =>
      verify(run, { place: at, provider: levelProvider() }),
    );
  }
  return await withLog(options, terminal, async (log, { checkpointer, kvProvider: provider }) => {
    if (from.kind === "path") {
      return await withCheckpointPlace(from.path, options, terminal, (at) =>
        verify(run, { place: at, log, provider }),
      );
    }
    if (checkpointer === undefined) throw noStore();
    return await verify(run, { place: { store: checkpointer.store, name: from.name }, log, provider });
  });
}

async function verify(run: VerifyRun, { place: { store, name }, log, provider }: Target): Promise<Verified> {
  const { mark, staging, log: logId } = run.options;
  const checkpoint = await whichCheckpoint(store, name, { provider, ...(log && { log }) }, logId);
  const stagingDir = await stagingFolder(staging, "cairn-verify-", run.terminal);
  run.defer(() => rm(stagingDir, { recursive: true, force: true }));
  const signal = run.interruptible("nothing was verified");
  const display = showRestore(run.terminal, "verifying");
  run.defer(display.stop);
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
