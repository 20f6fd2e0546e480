import { type CheckpointerOptions, type CheckpointStore, isSamePlace } from "@cairn/checkpoint";
import { CairnError, withTimeout } from "@cairn/kv";
import type { System } from "../api/system.ts";

export interface RestoringSystem extends Pick<System, "restoreFrom"> {
  readonly checkpointer: Pick<CheckpointerOptions, "store" | "restoreFrom"> | undefined;
}

/** Returns the store to which a node saves checkpoints. Throws `NOT_FOUND` if it saves none. */
export function requireStore({ checkpointer, restoreFrom }: RestoringSystem): CheckpointStore {
  if (checkpointer !== undefined) return checkpointer.store;
  if (restoreFrom !== undefined) {
    throw new CairnError(
      "NOT_FOUND",
      "This node saves no checkpoints, because its checkpointer has only restore-from.",
      "Use a node that saves checkpoints, or add store and approx-frequency to the checkpointer of this one.",
    );
  }
  throw new CairnError(
    "NOT_FOUND",
    "This node has no checkpointer.",
    'Configure one in the node\'s file: {"cairn/index-store": {"kv-store": {"checkpointer": {"store": {"cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", "path": "/backup/checkpoints"}, "approx-frequency": "PT6H"}}}}.',
  );
}

/** Returns the stores in which a node searches for checkpoints, in the order of the search. */
export function restoreStores({
  checkpointer,
  restoreFrom = [],
}: RestoringSystem): readonly CheckpointStore[] {
  return checkpointer === undefined ? restoreFrom : (checkpointer.restoreFrom ?? [checkpointer.store]);
}

/** Returns every store to which a node saves or from which it restores, without duplicates. */
export function allStores(system: RestoringSystem): readonly CheckpointStore[] {
  const { checkpointer } = system;
  return [
    ...new Set([...(checkpointer === undefined ? [] : [checkpointer.store]), ...restoreStores(system)]),
  ];
}

/** How long a store may take to close (ms). Nothing depends on it, and a store may be a module of the user's. */
const CLOSE_MS = 2_000;

/** Closes all stores, and throws the first error. */
export async function closeStores(system: RestoringSystem): Promise<void> {
  const closing = allStores(system).map(async (store) => await withTimeout(store.close(), CLOSE_MS));
  await Promise.allSettled(closing);
  await Promise.all(closing);
}

/** The node never writes to other stores of `restore-from` (a mirror, another region). */
export function isOwnStore({
  checkpointer,
}: Pick<RestoringSystem, "checkpointer">): (store: CheckpointStore) => boolean {
  return (store) => checkpointer !== undefined && isSamePlace(store, checkpointer.store);
}
