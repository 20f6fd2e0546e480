/** The meaning of an older module's name: either a Cairn module, or a message and advice on what to use instead. */
export type ModuleName = { readonly id: string } | { readonly message: string; readonly hint: string };

const OLD = "(?:crux|xtdb|juxt\\.crux)\\.(?:[a-z0-9-]+\\.)*";

/** Older names with a counterpart. The first match is used, because the names of S3 stores also end in `checkpoint`. */
const COUNTERPARTS: readonly (readonly [RegExp, string])[] = [
  [/^(?:[a-z0-9-]+\.)+(?:rocksdb|lmdb)\/->kv-store$/, "cairn.leveldb/->kv-store"],
  [/^(?:[a-z0-9-]+\.)+mem-kv\/->kv-store$/, "cairn.memory/->kv-store"],
  [new RegExp(`^${OLD}s3\\.checkpoint(?:-transfer-manager)?/->cp-store$`), "cairn.s3/->checkpoint-store"],
  [new RegExp(`^${OLD}checkpoint/->checkpointer$`), "cairn.checkpoint/->checkpointer"],
  [
    new RegExp(`^${OLD}checkpoint/->filesystem-checkpoint-store$`),
    "cairn.checkpoint/->filesystem-checkpoint-store",
  ],
  [new RegExp(`^${OLD}kv\\.tx-log/->tx-log$`), "cairn.embedded/->tx-log"],
];

const NATS = "Use cairn.nats/->tx-log, or cairn.embedded/->tx-log for a single node.";

/** Patterns match anywhere in the name, because each of these modules existed in several namespaces. */
const WITHOUT_COUNTERPART: readonly (readonly [RegExp, string, string])[] = [
  [/(^|[.-])kafka([./-]|$)/, "Cairn does not support Kafka.", NATS],
  [/(^|[.-])jdbc([./-]|$)/, "Cairn does not support a log in an SQL database.", NATS],
  [
    /document-store|(^|[./])doc-store/,
    "Cairn has no document store.",
    "Remove it: documents are stored in the transaction log and in the index.",
  ],
  [
    /(^|[.-])lucene([./-]|$)/,
    "Cairn does not support Lucene.",
    "Use cairn.sqlite/->index in cairn/indexes: its tables find words in the columns that text lists.",
  ],
  [
    /(^|[.-])xodus\/->kv-store$/,
    "Cairn does not support Xodus.",
    "Use cairn.leveldb/->kv-store with a new db-dir: the index is built from the log.",
  ],
  [
    /(^|[.-])azure([./-]|$)/,
    "Cairn does not support Azure Blob Storage.",
    "Use cairn.checkpoint/->filesystem-checkpoint-store on a mounted share, or a module of your own.",
  ],
  [
    /(^|[.-])(?:google|gcp|gcs)([./-]|$)/,
    "Cairn does not support Google Cloud Storage.",
    "Use cairn.checkpoint/->filesystem-checkpoint-store on a mounted bucket, or a module of your own.",
  ],
  [/(^|[.-])tx-log(-[a-z]+)?\/->/, "Cairn does not support this log.", NATS],
  [
    /(^|[./-])(?:metrics|prometheus|cloudwatch|jmx|dropwizard)([./-]|$)/,
    "Cairn has no module for metrics.",
    "Remove it: GET /metrics of the HTTP server always serves metrics for Prometheus.",
  ],
  [
    /(^|[.-])calcite([./-]|$)/,
    "Cairn has no SQL server.",
    "Remove it: documents are read over HTTP, by key, by list or by an indexed field.",
  ],
  [
    /(^|[./])(?:query-engine|tx-ingester|tx-indexer|bus|topology)$/,
    "Cairn has no such setting.",
    "Remove it.",
  ],
  [
    /(^|[.-])rocksdb\/(?:->lru-)?block-cache$/,
    "Cairn does not have a cache to share.",
    "Remove it: the size of LevelDB's cache is fixed.",
  ],
  [
    /(^|[./-])health-check([./-]|$)/,
    "Cairn has no separate server for health checks.",
    "Remove it: cairn/http-server serves GET /health/live and GET /health/ready.",
  ],
  [
    /(^|[.-])http-server\/(?!server$)/,
    "The parameters of the server are in a separate map.",
    'Write "cairn/http-server": {"port": 3000}.',
  ],
];

/** Returns the meaning of a module id of an older system; undefined if `name` is not one. */
export function olderModule(name: string): ModuleName | undefined {
  for (const [pattern, id] of COUNTERPARTS) if (pattern.test(name)) return { id };
  return /^(?:[a-z0-9-]+\.)?(?:crux|xtdb|juxt)[./]/.test(name) ? olderSetting(name) : undefined;
}

/** Returns what a module or a top-level key without a counterpart means; undefined if `name` is not like one. */
export function olderSetting(name: string): ModuleName | undefined {
  for (const [pattern, message, hint] of WITHOUT_COUNTERPART)
    if (pattern.test(name)) return { message: `${name} has no counterpart: ${message}`, hint };
  return undefined;
}

/** The top-level keys of older systems, with their names in Cairn. */
export const TOP_LEVEL_ALIASES: ReadonlyMap<string, string> = new Map([
  ["crux.http-server/server", "cairn/http-server"],
  ["xtdb.http-server/server", "cairn/http-server"],
]);

/** The parameters of older modules without a counterpart, with advice. */
export const OLDER_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ["no-colons-in-filenames?", "Remove it: names never contain colons."],
  ["sync?", "Remove it: the log is the source of truth, and the index is checked against it at every start."],
  ["transfer-manager?", "Remove it: large files are always sent in parts."],
  ["disable-wal?", "Remove it: the index needs its write-ahead log."],
  ["block-cache", "Remove it: the size of LevelDB's cache is fixed."],
  ["map-size", "Remove it: LevelDB's files grow as needed."],
  ["env-mapsize", "Remove it: LevelDB's files grow as needed."],
  ["env-flags", "Remove it: LevelDB's settings are fixed."],
  ...["kafka-config", "tx-topic-opts", "poll-wait-duration", "connection-pool", "poll-sleep-duration"]
    .concat(["storage-account", "container", "project-id"])
    .map((name): [string, string] => [name, "Remove it: it belongs to a module that Cairn does not have."]),
  ["kv-store", "Remove it: the log has its own files, in the folder `path`."],
  ["document-store", "Remove it: documents are stored in the transaction log and in the index."],
  ["metrics", "Remove it: GET /metrics of the HTTP server always serves them."],
  ["db-options", "Remove it: LevelDB's settings are fixed."],
  ["enable-filters?", "Remove it: LevelDB's settings are fixed."],
  ["jwks", "Remove it and set auth-token: requests carry it as Authorization: Bearer."],
  ["jetty-opts", "Remove it: host and port are the address of the server."],
  ["server-label", "Remove it: id of cairn/node is the name of the node."],
  [
    "configurator",
    "Remove it: endpoint, region, credentials and force-path-style? are parameters of their own.",
  ],
  [
    "read-only?",
    "Remove it: a store in restore-from is never written to, and a server with an auth-token only by its holders.",
  ],
]);

/** Older names in their usual form, for suggestions. */
export const OLDER_NAMES: readonly string[] = ["crux", "xtdb"].flatMap((system) =>
  [
    "rocksdb/->kv-store",
    "lmdb/->kv-store",
    "mem-kv/->kv-store",
    "checkpoint/->checkpointer",
    "checkpoint/->filesystem-checkpoint-store",
    "s3.checkpoint/->cp-store",
  ].map((name) => `${system}.${name}`),
);
