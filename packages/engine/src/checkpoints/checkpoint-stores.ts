import { addAbortSignal } from "node:stream";
import { type CheckpointerOptions, type CheckpointStore, isSamePlace } from "@cairn/checkpoint";
import { CairnError, unlessAborted, withTimeout } from "@cairn/kv";
import { madeOnce, wrapped } from "@cairn/text";
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

/**
 * Returns the system with stores of which every read ends when `signal` is aborted, so that no caller has to consider
 * that a store may never respond. Only for work that `signal` ends.
 */
export function readUntil(system: System, signal: AbortSignal): System {
  const made = new Map<CheckpointStore, CheckpointStore>();
  const until = (store: CheckpointStore): CheckpointStore =>
    madeOnce(made, store, () => abortable(store, signal));
  const { checkpointer, restoreFrom } = system;
  return {
    ...system,
    checkpointer: checkpointer && {
      ...checkpointer,
      store: until(checkpointer.store),
      ...(checkpointer.restoreFrom && { restoreFrom: checkpointer.restoreFrom.map(until) }),
    },
    ...(restoreFrom && { restoreFrom: restoreFrom.map(until) }),
  };
}

function abortable(store: CheckpointStore, signal: AbortSignal): CheckpointStore {
  return wrapped<CheckpointStore>(store, {
    list: async (prefix) => await unlessAborted(store.list(prefix), signal),
    read: async (name) => await unlessAborted(store.read(name), signal),
    now: async () => await unlessAborted(store.now(), signal),
    open: async (name, options = {}) => {
      const opening = store.open(name, { ...options, signal: options.signal ?? signal });
      const content = await unlessAborted(opening, signal, (late) => {
        late.on("error", () => undefined);
        late.destroy();
      });
      // A caller with a signal of its own ends the reading itself: threads of its may still use the descriptor.
      return options.signal === undefined ? addAbortSignal(signal, content) : content;
    },
  });
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
