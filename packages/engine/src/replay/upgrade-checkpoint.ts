import path from "node:path";
import { restoreCheckpoint, type RestoreOptions } from "@cairn/checkpoint";
import type { CheckpointSummary } from "@cairn/client";
import { CairnError, closing } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { judgeFormat, verifyRestored } from "../checkpoints/accept-checkpoint.ts";
import { checkpointSummary } from "../checkpoints/checkpoint-summary.ts";
import { IndexStore } from "../index/index-store.ts";
import { fileReader, openIndex } from "../index/local-index.ts";
import { type IndexSaving, saveIndex } from "./rebuild-checkpoint.ts";

interface CheckpointUpgrade extends Pick<IndexSaving, "signal" | "onWaiting"> {
  /** A checkpoint in the store to which the node saves. */
  readonly name: string;
  readonly system: System & { readonly checkpointer: NonNullable<System["checkpointer"]> };
  readonly node: string;
  /** A folder for the copies, which the caller removes. */
  readonly dir: string;
  readonly onProgress: RestoreOptions["onProgress"];
}

/** Saves the index of a checkpoint of an older version as one of this version. The old checkpoint remains. */
export async function upgradeCheckpoint(upgrade: CheckpointUpgrade): Promise<CheckpointSummary> {
  const { name, system, node, dir, signal, onProgress, onWaiting } = upgrade;
  const provider = fileReader(system.kvProvider);
  const target = path.join(dir, "index");
  const { restored, skipped } = await restoreCheckpoint({
    stores: [system.checkpointer.store],
    name,
    stagingDir: path.join(dir, "staging"),
    targetDir: target,
    node,
    accept: (manifest) => Promise.resolve(judgeFormat(manifest, provider.format) ?? true),
    verify: async (unpacked, manifest) => await verifyRestored(provider, unpacked, manifest, { signal }),
    onProgress,
    signal,
  });
  if (restored === undefined) {
    throw skipped.find((one) => one.name === name)?.error ?? new CairnError("CHECKPOINT_NOT_FOUND", name);
  }
  const { kv, state } = await openIndex(provider, target);
  if (state === undefined) throw new CairnError("CHECKPOINT_CORRUPT", `${name} holds an empty index.`);
  return await closing(await IndexStore.open(kv, state), async (index) => {
    const saved = await saveIndex(index, {
      source: { node, provider, log: undefined, reads: undefined },
      options: { ...system.checkpointer, checkpointDir: path.join(dir, "capture") },
      signal,
      onWaiting,
    });
    const checkpoint = saved.outcome === "taken" ? saved.checkpoint : saved.newest;
    if (checkpoint === undefined) throw new CairnError("INTERNAL", `${name} was upgraded, but not saved.`);
    return checkpointSummary({ ...checkpoint.manifest, name: checkpoint.name });
  });
}
