/** The log and the checkpoint store of a cluster, and the number of checkpoints that each version retains. */
export interface SharedPlaces {
  readonly server: string;
  readonly checkpoints: string;
  readonly retain: number;
}

/** Returns a node's configuration, which every version of Cairn can read. */
export function configOf(id: string, dir: string, { server, checkpoints, retain }: SharedPlaces): object {
  const store = {
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path: checkpoints,
    "shared-store": true,
  };
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store,
    "approx-frequency": "PT10S",
    "retention-policy": { "retain-at-least": retain },
  };
  return {
    "cairn/node": { id, dir },
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [server] },
    "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } },
  };
}
