import { readdir, rename, rmdir } from "node:fs/promises";
import path from "node:path";
import { restoreCheckpoint, type RestoreProgress } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import {
  CairnError,
  type KvProvider,
  makeFolder,
  removeFolder,
  syncFile,
  syncFolder,
  systemErrorCode,
} from "@cairn/kv";
import { judgeFormat, verifyRestored } from "../checkpoints/accept-checkpoint.ts";
import { isOwnStore, restoreStores, type RestoringSystem } from "../checkpoints/checkpoint-stores.ts";
import { digestIndex } from "../index/read/digest.ts";
import type { IndexState } from "../index/rows/index-state.ts";
import { fileReader, openIndex } from "../index/local-index.ts";
import type { PastPlan } from "./past-plan.ts";
import { rebuildIndex } from "./rebuild-index.ts";

export interface PastBuild {
  readonly plan: PastPlan;
  /** The stores from which checkpoints and backups are read. */
  readonly places: RestoringSystem;
  readonly provider: KvProvider;
  /** The working folder. It is emptied first. */
  readonly dir: string;
  /** The owner of the reservation that protects the checkpoint. */
  readonly node: string;
  readonly signal: AbortSignal;
  readonly onRestore?: (progress: RestoreProgress) => void;
  readonly onReplay?: (done: number, total: number) => void;
}

/** An index as of a point in the past. `live` is its folder; the index is closed. */
export interface PastIndex {
  readonly live: string;
  readonly txId: TxId;
  readonly digest: string;
  readonly state: IndexState;
}

/** Verifies every digest and anchor. Throws the errors of checkpoints, segments, stores and logs. */
export async function buildPast(options: PastBuild): Promise<PastIndex> {
  const { plan, places, provider, dir, node, signal, onRestore, onReplay } = options;
  const { history, txId, checkpoint } = plan;
  if (history !== undefined) {
    return await rebuildIndex({
      system: { nodeId: node, kvProvider: provider, ...places },
      log: history,
      dir,
      txId,
      preferCheckpoint: true,
      signal,
      ...(onRestore === undefined ? {} : { onRestore }),
      ...(onReplay === undefined ? {} : { onProgress: onReplay }),
    });
  }
  await removeFolder(dir);
  const live = path.join(dir, "live");
  const name = checkpoint?.name ?? "";
  const { restored, skipped } = await restoreCheckpoint({
    stores: restoreStores(places),
    stagingDir: path.join(dir, "staging"),
    targetDir: live,
    node,
    reserveIn: isOwnStore(places),
    name,
    accept: (manifest) => Promise.resolve(judgeFormat(manifest, provider.format) ?? true),
    verify: async (unpacked, manifest) => await verifyRestored(provider, unpacked, manifest),
    ...(onRestore === undefined ? {} : { onProgress: onRestore }),
    signal,
  });
  if (restored === undefined) throw skipped[0]?.error ?? gone(name);
  const { kv, state } = await openIndex(fileReader(provider), live);
  try {
    const digest = await digestIndex(kv);
    if (state === undefined || digest === undefined) throw gone(name);
    return { live, ...digest, state };
  } finally {
    await kv.close();
  }
}

/**
 * Moves a built index to `target` on the same file system and flushes it. `target` must be an empty folder, or must not
 * exist.
 */
export async function placePast({ live }: PastIndex, target: string): Promise<void> {
  for (const name of await readdir(live)) await syncFile(path.join(live, name));
  await syncFolder(live);
  await makeFolder(path.dirname(target));
  await requireEmpty(target);
  await rename(live, target);
  await syncFolder(path.dirname(target));
}

/** Throws `CONFLICT` if a folder contains files. Removes an empty folder. */
export async function requireEmpty(target: string): Promise<void> {
  try {
    await rmdir(target);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT") return;
    if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOTDIR") throw error;
    throw new CairnError(
      "CONFLICT",
      `${target} is not empty. An index can be restored only to a new or empty directory.`,
      {
        hint: "Name another directory. Nothing was restored.",
      },
    );
  }
}

function gone(name: string): CairnError {
  return new CairnError("CHECKPOINT_NOT_FOUND", `The checkpoint ${name} has just been removed.`, {
    hint: "Run the command again. It will use another checkpoint.",
  });
}
