import { join } from "node:path";
import type { BucketPlace } from "./bucket.ts";

/** A log on NATS that contains the records. */
export interface FilledLog {
  readonly url: string;
  readonly stream: string;
}

/** A checkpoint store: a folder, or a location in S3. */
export type StorePlace = string | BucketPlace;

/** The options in which the nodes of the bench differ. */
export interface NodeChoice {
  readonly dir: string;
  /** The node's log on NATS. Without it, the node has its own log. */
  readonly log?: FilledLog;
  /** The folder of the node's own log. Defaults to one in `dir`. */
  readonly ownLog?: string;
  /** The node's own indexes, as `cairn/indexes` has them. */
  readonly indexes?: object | undefined;
  /** The store of a log backup from which the node reads instead. */
  readonly fromBackup?: StorePlace;
  /** The approximate interval between backups of the log, in ISO 8601. It requires `checkpoints`. */
  readonly backUp?: string;
  /** The store of the node's checkpoints. Without it, the node saves none. */
  readonly checkpoints?: StorePlace;
  /** Whether the node serves stale reads from the checkpoint that it restores. By default, it does. */
  readonly attach?: boolean;
  /** The port of the node's HTTP server. Without it, the node has no HTTP server. */
  readonly port?: number;
}

/** Configures a node (docs/configuration.md). All other parameters have Cairn's defaults. */
export function nodeConfig(choice: NodeChoice): object {
  const { dir, log, ownLog, indexes, fromBackup, backUp, checkpoints, attach, port } = choice;
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store: checkpoints === undefined ? undefined : storeConfig(checkpoints),
    "approx-frequency": "PT6H",
    ...(backUp === undefined ? {} : { "log-backup": { every: backUp } }),
  };
  const onNats = { "cairn/module": "cairn.nats/->tx-log", servers: [log?.url], stream: log?.stream };
  const embedded = { "cairn/module": "cairn.embedded/->tx-log", path: ownLog };
  const txLog =
    fromBackup === undefined
      ? log === undefined
        ? ownLog && embedded
        : onNats
      : { "cairn/module": "cairn.log-backup/->tx-log", store: storeConfig(fromBackup) };
  return {
    "cairn/node": { id: "bench", dir },
    ...(txLog === undefined ? {} : { "cairn/tx-log": txLog }),
    "cairn/index-store": {
      "kv-store": {
        "cairn/module": "cairn.leveldb/->kv-store",
        "db-dir": indexDir(dir),
        ...(checkpoints === undefined ? {} : { checkpointer }),
        ...(attach === undefined ? {} : { attach }),
      },
    },
    ...(indexes === undefined ? {} : { "cairn/indexes": indexes }),
    "cairn/http-server": port === undefined ? null : { host: "127.0.0.1", port },
  };
}

function storeConfig(place: StorePlace): object {
  if (typeof place === "string")
    return { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: place };
  const { endpoint, bucket, region, credentials, prefix } = place;
  const { accessKeyId, secretAccessKey } = credentials;
  return {
    "cairn/module": "cairn.s3/->checkpoint-store",
    endpoint,
    bucket,
    region,
    prefix,
    credentials: { "access-key-id": accessKeyId, "secret-access-key": secretAccessKey },
  };
}

/** Returns a node's `db-dir`. */
export function indexDir(nodeDir: string): string {
  return join(nodeDir, "index");
}
