/** What a module's name means: one of ours, one of ours under an older name, or nothing, with what to use instead. */
export type ModuleName = { readonly id: string } | { readonly message: string; readonly hint: string };

const OLD = "(?:crux|xtdb|juxt\\.crux)\\.(?:[a-z0-9-]+\\.)*";

/** Older names with a counterpart. The first that matches counts: the S3 stores end in `checkpoint` too. */
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

/**
 * Older names without a counterpart: pattern, what is missing, what to do instead. Looked for anywhere in the name, because
 * these modules came under several namespaces each.
 */
const WITHOUT: readonly (readonly [RegExp, string, string])[] = [
  [/(^|[.-])kafka([./-]|$)/, "Cairn has no Kafka log.", NATS],
  [/(^|[.-])jdbc([./-]|$)/, "Cairn has no log in an SQL database.", NATS],
  [
    /document-store|(^|[./])doc-store/,
    "Cairn has no document store.",
    "Leave it out: documents lie in the transaction log and in the index.",
  ],
  [
    /(^|[.-])lucene([./-]|$)/,
    "Cairn has no Lucene index.",
    "Leave it out: documents are found by bucket, namespace and name.",
  ],
  [
    /(^|[.-])xodus\/->kv-store$/,
    "Cairn has no Xodus.",
    "Use cairn.leveldb/->kv-store, in a db-dir of its own: the index is built from the log.",
  ],
  [
    /(^|[.-])azure([./-]|$)/,
    "Cairn has no Azure store.",
    "Use cairn.checkpoint/->filesystem-checkpoint-store on a mounted share, or a module of your own.",
  ],
  [
    /(^|[.-])(?:google|gcp|gcs)([./-]|$)/,
    "Cairn has no Google Cloud Storage store.",
    "Use cairn.checkpoint/->filesystem-checkpoint-store on a mounted bucket, or a module of your own.",
  ],
  [/(^|[.-])tx-log(-[a-z]+)?\/->/, "Cairn has no such log.", NATS],
  [
    /(^|[./-])(?:metrics|prometheus|cloudwatch|jmx|dropwizard)([./-]|$)/,
    "Cairn has no module for metrics.",
    "Leave it out: GET /metrics of the HTTP server always has them, for Prometheus.",
  ],
  [
    /(^|[.-])calcite([./-]|$)/,
    "Cairn has no SQL server.",
    "Leave it out: documents are read over HTTP, by key, by list or by an indexed field.",
  ],
  [
    /(^|[./])(?:query-engine|tx-ingester|tx-indexer|bus|topology)$/,
    "Cairn has nothing of the kind to configure.",
    "Leave it out.",
  ],
  [
    /(^|[.-])rocksdb\/(?:->lru-)?block-cache$/,
    "Cairn has no cache to share.",
    "Leave it out: the size of LevelDB's cache is fixed.",
  ],
  [
    /(^|[./-])health-check([./-]|$)/,
    "Cairn has no server for health alone.",
    "Leave it out: GET /health/live and GET /health/ready of cairn/http-server answer.",
  ],
  [
    /(^|[.-])http-server\/(?!server$)/,
    "The server's parameters stand in a map of their own.",
    'Write "cairn/http-server": {"port": 3000}.',
  ],
];

/** What a module id of an older system means; undefined when `name` is none. */
export function olderModule(name: string): ModuleName | undefined {
  for (const [pattern, id] of COUNTERPARTS) if (pattern.test(name)) return { id };
  if (!/^(?:[a-z0-9-]+\.)?(?:crux|xtdb|juxt)[./]/.test(name)) return undefined;
  for (const [pattern, message, hint] of WITHOUT) {
    if (pattern.test(name)) return { message: `${name} has no counterpart: ${message}`, hint };
  }
  return undefined;
}

/** A module of ours that does the work of one without a counterpart. */
export interface StandIn {
  readonly id: string;
  /** Texts, whose variables the operator sets. */
  readonly parameters: Readonly<Record<string, string>>;
  /** What is to be done about it. */
  readonly note: string;
}

/** By how the older name ends. */
const STAND_INS: readonly (readonly [RegExp, StandIn])[] = [
  [
    /->(?:[a-z]+-)*tx-log(?:-[a-z]+)?$/,
    {
      id: "cairn.nats/->tx-log",
      parameters: { servers: "${NATS_URL}" },
      note: "In its place stands a log on NATS JetStream, which all nodes of the cluster share: set NATS_URL to its servers, such as nats://10.0.0.7:4222.",
    },
  ],
  [/->kv-store$/, { id: "cairn.leveldb/->kv-store", parameters: {}, note: "In its place stands LevelDB." }],
  [
    /->(?:cp|checkpoint)-store$/,
    {
      id: "cairn.checkpoint/->filesystem-checkpoint-store",
      parameters: { path: "${CAIRN_CHECKPOINT_PATH}" },
      note: "In its place stands a folder: set CAIRN_CHECKPOINT_PATH to where it is mounted.",
    },
  ],
];

/** What does the work of an older module that has no counterpart; undefined where nothing does. */
export function standIn(name: string): StandIn | undefined {
  return STAND_INS.find(([pattern]) => pattern.test(name))?.[1];
}

/** What the older names of a module of ours match. */
export function olderPatterns(id: string): readonly RegExp[] {
  return COUNTERPARTS.filter(([, meant]) => meant === id).map(([pattern]) => pattern);
}

/** Top-level keys of older systems under the name that they have here. */
export const TOP_LEVEL_ALIASES: ReadonlyMap<string, string> = new Map([
  ["crux.http-server/server", "cairn/http-server"],
  ["xtdb.http-server/server", "cairn/http-server"],
]);

/** What to do about a top-level key of an older system that means nothing here. */
export function olderTopLevelHint(name: string): { message: string; hint: string } | undefined {
  for (const [pattern, message, hint] of WITHOUT) if (pattern.test(name)) return { message, hint };
  return undefined;
}

/** Parameters of older modules that have no counterpart, with what to do instead. */
export const OLDER_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ["no-colons-in-filenames?", "Leave it out: names never contain colons."],
  ["sync?", "Leave it out: the log is the truth, and the index is checked against it at every start."],
  ["transfer-manager?", "Leave it out: large files are always sent in parts."],
  ["disable-wal?", "Leave it out: the index needs its write-ahead log."],
  ["block-cache", "Leave it out: the size of LevelDB's cache is fixed."],
  ["map-size", "Leave it out: LevelDB's files grow as they have to."],
  ["env-mapsize", "Leave it out: LevelDB's files grow as they have to."],
  ["env-flags", "Leave it out: LevelDB's settings are fixed."],
  ["kv-store", "Leave it out: the log keeps its own files, and `path` says where."],
  ["document-store", "Leave it out: documents lie in the transaction log and in the index."],
  ["metrics", "Leave it out: GET /metrics of the HTTP server always has them."],
  ["db-options", "Leave it out: LevelDB's settings are fixed."],
  ["enable-filters?", "Leave it out: LevelDB's settings are fixed."],
  ["jwks", "Leave it out, and set auth-token: requests carry it as Authorization: Bearer."],
  ["jetty-opts", "Leave it out: host and port say where the server listens."],
  ["server-label", "Leave it out: id of cairn/node is the node's name."],
  [
    "configurator",
    "Leave it out: endpoint, region, credentials and force-path-style? say what it would set.",
  ],
  ["read-only?", "Leave it out; with an auth-token only its holders can write."],
]);

/** Older names as they were usually written, for suggestions. */
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
