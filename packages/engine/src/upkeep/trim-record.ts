import type { CheckpointStore } from "@cairn/checkpoint";
import { unlessFailed } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { listBackup, trimFile } from "../backup/segments/segment-name.ts";

/*
 * Cairn trims a log only if a store that all nodes share replaces the messages, so such a store also records how far:
 * whatever else is missing at the beginning of the log was removed by something else. Each record is a file of its own,
 * because of two nodes that trim at once, the one that removes more decides.
 */

/** The store to which a node saves, if all nodes share it: it writes to no other. */
export function recordingStore({ checkpointer }: Pick<System, "checkpointer">): CheckpointStore | undefined {
  return checkpointer?.store.shared === true ? checkpointer.store : undefined;
}

/** Records that the log is about to be trimmed up to `position`, or that it may begin there. */
export async function recordTrim(store: CheckpointStore, logId: string, position: number): Promise<void> {
  await store.create(trimFile(logId, position), "{}");
  await unlessFailed(removeEarlier(store, logId), "any", undefined);
}

async function removeEarlier(store: CheckpointStore, logId: string): Promise<void> {
  const { trims } = await listBackup(store, logId);
  const furthest = furthestOf(trims) ?? 0;
  for (const { name, position } of trims) if (position < furthest) await store.remove(name);
}

/** Returns the position up to which Cairn has trimmed the log at most; undefined if there is no record. */
export async function trimmedUpTo(
  stores: readonly CheckpointStore[],
  logId: string,
): Promise<number | undefined> {
  const listed = await Promise.all(stores.map(async (store) => (await listBackup(store, logId)).trims));
  return furthestOf(listed.flat());
}

function furthestOf(trims: readonly { readonly position: number }[]): number | undefined {
  return trims.length === 0 ? undefined : Math.max(...trims.map(({ position }) => position));
}
