import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointerOptions, type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { type CairnNode, openEmbeddedTxLog, type System } from "@cairn/engine";
import type { RunOptions } from "@cairn/engine/src/node/node";
import { runNode } from "@cairn/node";
import { onTestFinished } from "vitest";
import { quietSystem } from "./quiet-system.ts";

/** Nodes on one embedded log, one after another, with indexes of several tables. */
export interface CheckpointScene {
  readonly folder: string;
  readonly store: CheckpointStore;
  /** Starts a node, by its id or its parts, with an index of its own. The node is closed no later than the end of the test. */
  start(system: string | System, options?: RunOptions): Promise<CairnNode>;
  /** Returns the parts of a node with this id. */
  system(id: string, checkpointer?: Partial<CheckpointerOptions>): System;
}

/** `wrap` returns the store that nodes use. Everything is removed after the test. */
export async function checkpointScene(
  wrap: (store: CheckpointStore, folder: string) => CheckpointStore | Promise<CheckpointStore> = (store) =>
    store,
): Promise<CheckpointScene> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-checkpoint-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const store = await wrap(filesystemStore({ path: path.join(folder, "checkpoints") }), folder);
  const system: CheckpointScene["system"] = (nodeId, checkpointer = {}) => {
    const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
    const kvProvider = levelProvider({ writeBufferSize: 64 * 1024 });
    const parts = { folder, nodeId, openTxLog, checkpointer: { store, ...checkpointer } };
    return { ...quietSystem(parts), kvProvider };
  };
  const start: CheckpointScene["start"] = async (given, options) => {
    const node = await runNode(typeof given === "string" ? system(given) : given, options);
    onTestFinished(() => node.close());
    return node;
  };
  return { folder, store, system, start };
}
