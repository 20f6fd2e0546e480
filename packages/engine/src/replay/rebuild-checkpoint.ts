import { rm } from "node:fs/promises";
import path from "node:path";
import { listCheckpoints, takeCheckpoint } from "@cairn/checkpoint";
import type { CheckpointSummary, TxId } from "@cairn/client";
import { diskError, systemClock } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { acceptManifest } from "../checkpoints/accept-checkpoint.ts";
import { allStores } from "../checkpoints/checkpoint-stores.ts";
import { checkpointSummary } from "../checkpoints/checkpoint-summary.ts";
import { indexSource } from "../checkpoints/index-source.ts";
import { IndexDirectory } from "../db-dir/index-directory.ts";
import { fileReader } from "../index/local-index.ts";
import { type LogRebuildOptions, rebuildFromLog, requireBeginning } from "./rebuild-from-log.ts";

/** What is rebuilt from, and where it is saved. */
interface CheckpointRebuild extends Omit<LogRebuildOptions, "provider" | "directory"> {
  readonly system: System & { readonly checkpointer: NonNullable<System["checkpointer"]> };
  /** Who saves the checkpoint: the configured id of the node may be in use. */
  readonly node: string;
  readonly onBuilt: () => void;
  /** Called once if another node is saving a checkpoint, which is awaited. */
  readonly onWaiting: (because: string) => void;
}

type RebuiltCheckpoint =
  | { readonly checkpoint: CheckpointSummary; readonly log: string; readonly resumedAt: TxId }
  | { readonly skipped: "unchanged"; readonly because: string };

const POLL_INTERVAL_MS = 1_000;

/**
 * Saves a checkpoint of this version, built from the log alone, unless the store has one of the whole log. The node may
 * run. Throws `LOG_TRIMMED` if neither the log nor its backup has the beginning.
 */
export async function rebuildCheckpoint(options: CheckpointRebuild): Promise<RebuiltCheckpoint> {
  const { log, identity, system, signal } = options;
  await requireBeginning(log, identity, allStores(system), system.kvProvider, signal);
  const newest = await findUpToDate(options);
  if (newest !== undefined) {
    const because = `${newest} has the index format of this version and contains the whole log.`;
    return { skipped: "unchanged", because };
  }
  // The rebuild has its own folder next to the node's folders, because a running node locks them.
  const folder = path.join(system.dir, "rebuild");
  const directory = await IndexDirectory.acquire(folder);
  let isDone = false;
  try {
    const result = await buildAndSave(options, directory);
    isDone = true;
    return result;
  } catch (error) {
    throw diskError(error, folder);
  } finally {
    await directory.release();
    // An unfinished index is kept, and the next rebuild continues from it.
    if (isDone) await rm(folder, { recursive: true, force: true });
  }
}

async function buildAndSave(
  rebuild: CheckpointRebuild,
  directory: IndexDirectory,
): Promise<RebuiltCheckpoint> {
  const { log, system, node, signal } = rebuild;
  // The index is built on disk even if the node keeps its own in memory, because it may be larger than the memory.
  const provider = fileReader(system.kvProvider);
  const { index, resumedAt } = await rebuildFromLog({ ...rebuild, provider, directory });
  rebuild.onBuilt();
  try {
    const purge = async (): Promise<void> => {
      await index.purgeEvictions({ withinMs: Infinity, signal });
    };
    const source = indexSource({ node, provider, index, log, purge });
    const options = { ...system.checkpointer, checkpointDir: directory.layout.capture };
    for (let tries = 0; ; tries++) {
      const saved = await takeCheckpoint({ source, options, forced: true, signal });
      if (saved.outcome !== "skipped") {
        const { name, manifest } = saved.checkpoint;
        return { checkpoint: checkpointSummary({ ...manifest, name }), log: log.name, resumedAt };
      }
      if (saved.reason !== "leased") return { skipped: "unchanged", because: saved.because };
      if (tries === 0) rebuild.onWaiting(saved.because);
      await systemClock.wait(POLL_INTERVAL_MS, signal);
      signal.throwIfAborted();
    }
  } finally {
    await index.close();
  }
}

/** Returns the name of a checkpoint that nodes of this version can restore and that contains the whole log. */
async function findUpToDate({
  log,
  identity,
  system,
  signal,
}: CheckpointRebuild): Promise<string | undefined> {
  const { bounds, birth } = identity;
  const last = bounds.last + (birth?.offset ?? 0);
  for (const one of (await listCheckpoints(system.checkpointer.store, signal)).checkpoints) {
    if (one.log.id !== identity.id || one.txId < last) continue;
    const accepted = await acceptManifest({ ...one, files: [] }, system.kvProvider.format, log, identity);
    if (accepted === true) return one.name;
  }
  return undefined;
}
