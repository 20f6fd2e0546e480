import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { listCheckpoints, systemClock, takeCheckpoint, type TakeOutcome } from "@cairn/checkpoint";
import { diskError } from "@cairn/kv";
import type { CheckpointSummary, TxId } from "@cairn/client";
import { type LogHistory, logWithBackup } from "../../backup/log-with-backup.ts";
import { indexSource } from "../../checkpoints/index-source.ts";
import { fileReader } from "../../index/local-index.ts";
import type { IndexStore } from "../../index/index-store.ts";
import { IndexDirectory } from "../../db-dir/index-directory.ts";
import { type LogIdentity, readLogIdentity } from "../../log/log-identity.ts";
import { acceptManifest } from "../../checkpoints/accept-checkpoint.ts";
import { allStores, restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import { checkpointSummary } from "../../checkpoints/checkpoint-summary.ts";
import type { System } from "../../api/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { rebuildFromLog, requireBeginning } from "../../replay/rebuild-from-log.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { formatCount } from "../../text/quantities.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";
import { noLog, withLog } from "../places/log-place.ts";
import { interruptible } from "../terminal/interrupt.ts";

export type RebuildResult =
  | { readonly checkpoint: CheckpointSummary; readonly log: string; readonly resumedAt: TxId }
  | { readonly skipped: "unchanged"; readonly because: string };

type Checkpointer = NonNullable<System["checkpointer"]>;

const POLL_INTERVAL_MS = 1_000;

/**
 * Builds an index of this version from the configured log and saves it as a checkpoint, even while nodes run. Does
 * neither if the store already has such a checkpoint of the whole log.
 */
export async function rebuildCheckpoint(
  options: ConfigurationOptions,
  terminal: Terminal,
): Promise<RebuildResult> {
  const { signal, forget } = interruptible(
    terminal,
    "nothing was saved",
    "Run the same command again to continue: the index built so far remains in the node's dir under rebuild/.",
  );
  try {
    return await withLog(options, terminal, async (opened, system) => {
      const { checkpointer } = system;
      const log = logWithBackup(opened, restoreStores(system));
      if (checkpointer === undefined) {
        throw new UsageError(
          "The configuration has no checkpointer, so there is no store in which to save a checkpoint.",
          "Configure a checkpointer as docs/configuration.md describes.",
        );
      }
      return await rebuild(log, system, checkpointer, signal, terminal);
    });
  } finally {
    forget();
  }
}

async function rebuild(
  log: LogHistory,
  system: System,
  checkpointer: Checkpointer,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<RebuildResult> {
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw await noLog(log.name, system);
  await requireBeginning(log, identity, allStores(system), system.kvProvider, signal);
  const newest = await findUpToDate(log, system, checkpointer, identity, signal);
  if (newest !== undefined) {
    const because = `${newest} has the index format of this version and contains the whole log.`;
    return { skipped: "unchanged", because };
  }
  // The rebuild has its own folder next to the node's folders, because a running node locks them.
  const folder = path.join(system.dir, "rebuild");
  const directory = await IndexDirectory.acquire(folder);
  let isDone = false;
  try {
    const result = await buildAndSave(log, identity, system, checkpointer, directory, signal, terminal);
    isDone = true;
    return result;
  } catch (error) {
    throw diskError(error, folder);
  } finally {
    await directory.release();
    // An unfinished index is kept, and the same command continues from it.
    if (isDone) await rm(folder, { recursive: true, force: true });
  }
}

async function buildAndSave(
  log: LogHistory,
  identity: LogIdentity,
  system: System,
  checkpointer: Checkpointer,
  directory: IndexDirectory,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<RebuildResult> {
  // The index is built on disk even if the node keeps its own in memory, because it may be larger than the memory.
  const provider = fileReader(system.kvProvider);
  const display = showProgress(
    terminal.stderr,
    "rebuilding",
    identity.bounds.last + (identity.birth?.offset ?? 0),
    Date.now,
    formatCount,
  );
  const { index, resumedAt } = await rebuildFromLog({
    log,
    identity,
    provider,
    directory,
    signal,
    onProgress: (done) => display.update(done, `transactions of ${log.name}`),
    onLogState: ({ reachable, error }) => {
      if (!reachable) terminal.stderr.write(`${error?.message ?? "The log cannot be reached."} Retrying.\n`);
    },
  }).finally(() => display.stop());
  try {
    const save = (): Promise<TakeOutcome> => saveIndex(log, index, provider, checkpointer, directory, signal);
    const saved = await afterOtherUploads(save, signal, terminal);
    if (saved.outcome === "skipped") return { skipped: "unchanged", because: saved.because };
    const { name, manifest } = saved.checkpoint;
    return { checkpoint: checkpointSummary({ ...manifest, name }), log: log.name, resumedAt };
  } finally {
    await index.close();
  }
}

async function afterOtherUploads(
  save: () => Promise<TakeOutcome>,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<TakeOutcome> {
  for (let tries = 0; ; tries++) {
    const outcome = await save();
    if (outcome.outcome !== "skipped" || outcome.reason !== "leased") return outcome;
    if (tries === 0) terminal.stderr.write(`${printable(outcome.because)} Waiting until it ends.\n`);
    await systemClock.wait(POLL_INTERVAL_MS, signal);
    signal.throwIfAborted();
  }
}

async function saveIndex(
  log: TxLog,
  index: IndexStore,
  provider: System["kvProvider"],
  checkpointer: Checkpointer,
  directory: IndexDirectory,
  signal: AbortSignal,
): Promise<TakeOutcome> {
  // The configured node id may be in use by a running node.
  const node = `cairn checkpoint create --rebuild on ${hostname()}`;
  const purge = async (): Promise<void> => {
    await index.purgeEvictions({ withinMs: Infinity, signal });
  };
  const source = indexSource(node, provider, index, log, purge, () => undefined);
  const checkpointDir = directory.layout.capture;
  return await takeCheckpoint({
    source,
    options: { ...checkpointer, checkpointDir },
    forced: true,
    signal,
  });
}

/** Returns the name of a checkpoint that nodes of this version can restore and that contains the whole log. */
async function findUpToDate(
  log: LogHistory,
  { kvProvider }: System,
  { store }: Checkpointer,
  identity: LogIdentity,
  signal: AbortSignal,
): Promise<string | undefined> {
  const last = identity.bounds.last + (identity.birth?.offset ?? 0);
  for (const one of (await listCheckpoints(store, signal)).checkpoints) {
    if (one.log.id !== identity.id || one.txId < last) continue;
    if ((await acceptManifest({ ...one, files: [] }, kvProvider.format, log, identity)) === true)
      return one.name;
  }
  return undefined;
}
