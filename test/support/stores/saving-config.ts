import path from "node:path";

/**
 * Returns the configuration of a node in `folder`, as in a file: its index is in LevelDB, and its checkpoints are in
 * `checkpoints`, unless the test chooses another store. Use `saveCheckpoint`: the node also saves by itself, at a
 * random time within its first half minute.
 */
export function savingConfig(
  folder: string,
  id: string,
  httpServer: object | null,
  store: object = {
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path: path.join(folder, "checkpoints"),
  },
): object {
  return {
    "cairn/node": { id, dir: folder },
    "cairn/index-store": {
      "kv-store": {
        "cairn/module": "cairn.leveldb/->kv-store",
        checkpointer: {
          "cairn/module": "cairn.checkpoint/->checkpointer",
          store,
          "approx-frequency": "PT6H",
        },
      },
    },
    "cairn/http-server": httpServer,
  };
}
