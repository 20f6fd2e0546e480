import { type CheckpointerOptions, type CheckpointStore, isSamePlace } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { System } from "./system.ts";

/** Where a node saves checkpoints; `NOT_FOUND` when it saves none. */
export function storeOf({ checkpointer }: System): CheckpointStore {
  if (checkpointer !== undefined) return checkpointer.store;
  throw new CairnError("NOT_FOUND", "This node has no checkpointer.", {
    hint: 'Configure one in the node\'s file: {"cairn/index-store": {"kv-store": {"checkpointer": {"store": {"cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", "path": "/backup/checkpoints"}, "approx-frequency": "PT6H"}}}}.',
  });
}

type Stores = Pick<CheckpointerOptions, "store" | "restoreFrom">;

/** Where a node looks for checkpoints, in that order; nowhere without a checkpointer. */
export function restoreStores(checkpointer: Stores | undefined): readonly CheckpointStore[] {
  return checkpointer === undefined ? [] : (checkpointer.restoreFrom ?? [checkpointer.store]);
}

/** All that a node saves to and looks in, each once. */
export function everyStore(checkpointer: Stores | undefined): readonly CheckpointStore[] {
  return checkpointer === undefined
    ? []
    : [...new Set([checkpointer.store, ...(checkpointer.restoreFrom ?? [])])];
}

/**
 * Which stores a node writes into: only the one that it saves to. What restore-from names besides (a mirror, another region) is somebody
 * else's.
 */
export function isOwnStore({
  checkpointer,
}: Pick<System, "checkpointer">): (store: CheckpointStore) => boolean {
  return (store) => checkpointer !== undefined && isSamePlace(store, checkpointer.store);
}
