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

const DOCUMENTS = "Remove it: documents are stored in the transaction log and in the index.";

const NOTHING_INSTEAD = "Remove it: nothing takes its place.";

/** Hints by patterns, which match anywhere in the name, because each of these modules existed in several namespaces. */
const WITHOUT_COUNTERPART: readonly (readonly [RegExp, hint: string, what?: string])[] = [
  [/(^|[.-])(?:kafka|jdbc)([./-]|$)/, NATS],
  [/document-store|(^|[./])doc-store/, DOCUMENTS],
  [
    /(^|[.-])(?:lucene|calcite)([./-]|$)/,
    "Use cairn.sqlite/->index in cairn/indexes: it answers SQL, and finds words in the columns that text lists.",
  ],
  [
    /(^|[.-])xodus\/->kv-store$/,
    "Use cairn.leveldb/->kv-store with a new db-dir: the index is built from the log.",
  ],
  [
    /(^|[.-])(?:azure|google|gcp|gcs)([./-]|$)/,
    "Use cairn.checkpoint/->filesystem-checkpoint-store on a mount of that storage, or a module of your own.",
  ],
  [/(^|[.-])tx-log(-[a-z]+)?\/->/, NATS],
  [
    /(^|[./-])(?:metrics|prometheus|cloudwatch|jmx|dropwizard)([./-]|$)/,
    "Remove it: GET /metrics of the HTTP server always serves metrics for Prometheus.",
  ],
  [/(^|[./])(?:query-engine|tx-ingester|tx-indexer|bus|topology)$/, NOTHING_INSTEAD],
  [/(^|[.-])rocksdb\/(?:->lru-)?block-cache$/, NOTHING_INSTEAD],
  [
    /(^|[./-])health-check([./-]|$)/,
    "Remove it: cairn/http-server serves GET /health/live and GET /health/ready.",
  ],
  [/(^|[.-])http-server\/(?!server$)/, 'Write "cairn/http-server": {"port": 3000}.', "is not read by Cairn"],
];

/** Returns the meaning of a module id of an older system; undefined if `name` is not one. */
export function olderModule(name: string): ModuleName | undefined {
  for (const [pattern, id] of COUNTERPARTS) if (pattern.test(name)) return { id };
  return /^(?:[a-z0-9-]+\.)?(?:crux|xtdb|juxt)[./]/.test(name) ? olderSetting(name) : undefined;
}

/** Returns what a module or a top-level key without a counterpart means; undefined if `name` is not like one. */
export function olderSetting(name: string): ModuleName | undefined {
  for (const [pattern, hint, what = "has no counterpart in Cairn"] of WITHOUT_COUNTERPART)
    if (pattern.test(name)) return { message: `${name} ${what}.`, hint };
  return undefined;
}

/** The top-level keys of older systems, with their names in Cairn. */
export const TOP_LEVEL_ALIASES: ReadonlyMap<string, string> = new Map([
  ["crux.http-server/server", "cairn/http-server"],
  ["xtdb.http-server/server", "cairn/http-server"],
]);

/** The parameters of older modules without a counterpart, with advice. */
export const OLDER_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ...["no-colons-in-filenames?", "sync?", "transfer-manager?", "disable-wal?", "block-cache", "map-size"]
    .concat(["env-mapsize", "env-flags", "db-options", "enable-filters?"])
    .concat(["kafka-config", "tx-topic-opts", "poll-wait-duration", "connection-pool", "poll-sleep-duration"])
    .concat(["storage-account", "container", "project-id"])
    .map((name): [string, string] => [name, NOTHING_INSTEAD]),
  ["kv-store", "Remove it: the log has its own files, in the folder `path`."],
  ["document-store", DOCUMENTS],
  ["metrics", "Remove it: GET /metrics of the HTTP server always serves them."],
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
