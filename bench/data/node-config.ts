import { join } from "node:path";

/** A log on NATS that contains the records. */
export interface FilledLog {
  readonly url: string;
  readonly stream: string;
}

/** The options in which the nodes of the bench differ. */
export interface NodeChoice {
  readonly dir: string;
  readonly log: FilledLog;
  /** The folder of its checkpoints; without it, the node saves none. */
  readonly checkpoints?: string;
  /** The port of its HTTP server; without it, the node has none. */
  readonly port?: number;
}

/** Configures a node (docs/configuration.md). All other parameters have Cairn's defaults. */
export function nodeConfig({ dir, log, checkpoints, port }: NodeChoice): object {
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store: { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: checkpoints },
    "approx-frequency": "PT6H",
  };
  return {
    "cairn/node": { id: "bench", dir },
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [log.url], stream: log.stream },
    "cairn/index-store": {
      "kv-store": {
        "cairn/module": "cairn.leveldb/->kv-store",
        "db-dir": indexDir(dir),
        ...(checkpoints === undefined ? {} : { checkpointer }),
      },
    },
    "cairn/http-server": port === undefined ? null : { host: "127.0.0.1", port },
  };
}

/** Returns a node's `db-dir`. */
export function indexDir(nodeDir: string): string {
  return join(nodeDir, "index");
}
