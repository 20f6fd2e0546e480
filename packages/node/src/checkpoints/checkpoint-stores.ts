import { type CheckpointerOptions, type CheckpointStore, isSamePlace } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import type { System } from "../api/system.ts";

/** The stores of a checkpointer. */
export type Stores = Pick<CheckpointerOptions, "store" | "restoreFrom">;

/** Returns the store to which a node saves checkpoints. Throws `NOT_FOUND` if it has no checkpointer. */
export function requireStore({ checkpointer }: System): CheckpointStore {
  if (checkpointer !== undefined) return checkpointer.store;
  throw new CairnError("NOT_FOUND", "This node has no checkpointer.", {
    hint: 'Configure one in the node\'s file: {"cairn/index-store": {"kv-store": {"checkpointer": {"store": {"cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", "path": "/backup/checkpoints"}, "approx-frequency": "PT6H"}}}}.',
  });
}

/** Returns the stores in which a node looks for checkpoints, in that order. */
export function restoreStores(checkpointer: Stores | undefined): readonly CheckpointStore[] {
  return checkpointer === undefined ? [] : (checkpointer.restoreFrom ?? [checkpointer.store]);
}

/** Returns every store that a node saves to or restores from, without duplicates. */
export function allStores(checkpointer: Stores | undefined): readonly CheckpointStore[] {
  return checkpointer === undefined
    ? []
    : [...new Set([checkpointer.store, ...(checkpointer.restoreFrom ?? [])])];
}

/** Closes every store of a checkpointer. */
export async function closeStores(checkpointer: Stores | undefined): Promise<void> {
  for (const store of allStores(checkpointer)) await store.close();
}

/**
 * Returns whether a store is the one to which the node saves. The node never writes to other stores of `restore-from` (a mirror, another
 * region).
 */
export function isOwnStore({
  checkpointer,
}: {
  readonly checkpointer: Stores | undefined;
}): (store: CheckpointStore) => boolean {
  return (store) => checkpointer !== undefined && isSamePlace(store, checkpointer.store);
}
