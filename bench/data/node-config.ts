import { join } from "node:path";

/** A log on NATS that holds the records. */
export interface FilledLog {
  readonly url: string;
  readonly stream: string;
}

/** What the nodes of the bench differ in. */
export interface NodeChoice {
  readonly dir: string;
  readonly log: FilledLog;
  /** The folder of its checkpoints; none when left out. */
  readonly checkpoints?: string;
  /** No HTTP server when left out. */
  readonly port?: number;
}

/** The configuration of a node, as docs/configuration.md describes it: everything that is not said here is Cairn's default. */
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

/** A node's `db-dir`. */
export function indexDir(nodeDir: string): string {
  return join(nodeDir, "index");
}
