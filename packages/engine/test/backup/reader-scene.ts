import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { faultyStore, type StoreCall } from "@cairn/checkpoint/testing";
import type { System } from "../../src/api/system.ts";
import { BackupReader, type BackupReaderOptions } from "../../src/backup/backup-reader.ts";
import type { ClusterScene } from "@cairn/test-support/nodes/cluster-scene";

/** The methods that need only permission to read and list files. */
export const READING: ReadonlySet<StoreCall["method"]> = new Set([
  "list",
  "open",
  "openRanges",
  "readRange",
  "read",
]);

/** Returns the scene's store of checkpoints, and a record of every call to it. */
export function watchedStore(scene: ClusterScene): { store: CheckpointStore; calls: StoreCall[] } {
  const calls: StoreCall[] = [];
  const folder = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
  const store = faultyStore(folder, { fail: (call) => void calls.push(call) });
  return { store, calls };
}

/** Returns the parts of a node that reads its log from a backup and saves nothing. */
export function readerParts(
  store: CheckpointStore,
  options: Partial<BackupReaderOptions> = {},
): Partial<System> {
  return {
    openTxLog: ({ signal }) => Promise.resolve(new BackupReader({ store, every: 50, signal, ...options })),
    checkpointer: undefined,
    restoreFrom: [store],
    http: { host: "127.0.0.1", port: 0, maxBody: 1_000_000 },
  };
}
