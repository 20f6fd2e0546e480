/** Where the nodes of a cluster have log and checkpoints, and how many of these each version keeps. */
export interface SharedPlaces {
  readonly server: string;
  readonly stream: string;
  readonly checkpoints: string;
  readonly retain: number;
}

/** A node's configuration, as every version of Cairn reads it. */
export function configOf(
  id: string,
  dir: string,
  { server, stream, checkpoints, retain }: SharedPlaces,
): object {
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
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [server], stream },
    "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } },
  };
}
