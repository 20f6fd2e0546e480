import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { listCheckpoints, takeCheckpoint } from "@cairn/checkpoint";
import { systemClock, diskError } from "@cairn/kv";
import type { CheckpointSummary, TxId } from "@cairn/client";
import {
  type LogHistory,
  logWithBackup,
  indexSource,
  fileReader,
  IndexDirectory,
  type LogIdentity,
  acceptManifest,
  allStores,
  restoreStores,
  checkpointSummary,
  type System,
  rebuildFromLog,
  requireBeginning,
} from "@cairn/engine";
import { formatCount } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable } from "../terminal/terminal.ts";
import { openLog, requireIdentity } from "../places/configured-system.ts";

export type RebuildResult =
  | { readonly checkpoint: CheckpointSummary; readonly log: string; readonly resumedAt: TxId }
  | { readonly skipped: "unchanged"; readonly because: string };

/** What is rebuilt from, and where it is saved. */
interface Rebuild extends Pick<System, "kvProvider"> {
  readonly log: LogHistory;
  readonly identity: LogIdentity;
  readonly checkpointer: NonNullable<System["checkpointer"]>;
  readonly signal: AbortSignal;
}

const POLL_INTERVAL_MS = 1_000;

/** Saves a checkpoint of this version, built from the log, unless the store has one of the whole log. Nodes may run. */
export async function rebuildCheckpoint(run: CommandRun<ConfigurationOptions>): Promise<RebuildResult> {
  const signal = run.interruptible(
    "nothing was saved",
    "Run the same command again to continue: the index built so far remains in the node's dir under rebuild/.",
  );
  const { log: opened, system } = await openLog(run);
  const { checkpointer, kvProvider } = system;
  if (checkpointer === undefined) {
    throw new UsageError(
      "The configuration has no checkpointer, so there is no store in which to save a checkpoint.",
      "Configure a checkpointer as docs/configuration.md describes.",
    );
  }
  const log = logWithBackup(opened, restoreStores(system));
  const identity = await requireIdentity(log, system);
  await requireBeginning(log, identity, allStores(system), kvProvider, signal);
  const rebuild = { log, identity, kvProvider, checkpointer, signal };
  const newest = await findUpToDate(rebuild);
  if (newest !== undefined) {
    const because = `${newest} has the index format of this version and contains the whole log.`;
    return { skipped: "unchanged", because };
  }
  // The rebuild has its own folder next to the node's folders, because a running node locks them.
  const folder = path.join(system.dir, "rebuild");
  const directory = await IndexDirectory.acquire(folder);
  let isDone = false;
  try {
    const result = await buildAndSave(run, rebuild, directory);
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
  run: CommandRun,
  rebuild: Rebuild,
  directory: IndexDirectory,
): Promise<RebuildResult> {
  const { log, identity, kvProvider, checkpointer, signal } = rebuild;
  const { stderr } = run.terminal;
  // The index is built on disk even if the node keeps its own in memory, because it may be larger than the memory.
  const provider = fileReader(kvProvider);
  const display = run.progress("rebuilding", lastTxId(identity), formatCount);
  const { index, resumedAt } = await rebuildFromLog({
    log,
    identity,
    provider,
    directory,
    signal,
    onProgress: (done) => display.update(done, `transactions of ${log.name}`),
    onLogState: ({ reachable, error }) => {
      if (!reachable) stderr.write(`${error?.message ?? "The log cannot be reached."} Retrying.\n`);
    },
  }).finally(() => display.stop());
  try {
    const purge = async (): Promise<void> => {
      await index.purgeEvictions({ withinMs: Infinity, signal });
    };
    // The configured node id may be in use by a running node.
    const node = `cairn checkpoint create --rebuild on ${hostname()}`;
    const source = indexSource({ node, provider, index, log, purge });
    const options = { ...checkpointer, checkpointDir: directory.layout.capture };
    for (let tries = 0; ; tries++) {
      const saved = await takeCheckpoint({ source, options, forced: true, signal });
      if (saved.outcome !== "skipped") {
        const { name, manifest } = saved.checkpoint;
        return { checkpoint: checkpointSummary({ ...manifest, name }), log: log.name, resumedAt };
      }
      if (saved.reason !== "leased") return { skipped: "unchanged", because: saved.because };
      if (tries === 0) stderr.write(`${printable(saved.because)} Waiting until it ends.\n`);
      await systemClock.wait(POLL_INTERVAL_MS, signal);
      signal.throwIfAborted();
    }
  } finally {
    await index.close();
  }
}

/** Returns the name of a checkpoint that nodes of this version can restore and that contains the whole log. */
async function findUpToDate(rebuild: Rebuild): Promise<string | undefined> {
  const { log, identity, kvProvider, checkpointer, signal } = rebuild;
  for (const one of (await listCheckpoints(checkpointer.store, signal)).checkpoints) {
    if (one.log.id !== identity.id || one.txId < lastTxId(identity)) continue;
    if ((await acceptManifest({ ...one, files: [] }, kvProvider.format, log, identity)) === true)
      return one.name;
  }
  return undefined;
}

function lastTxId({ bounds, birth }: LogIdentity): TxId {
  return bounds.last + (birth?.offset ?? 0);
}
