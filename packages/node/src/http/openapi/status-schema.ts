import {
  array,
  BYTES,
  COUNT,
  FLAG,
  MILLISECONDS,
  nullable,
  object,
  oneOf,
  type OpenApiObject,
  TEXT,
  TIME,
  TX_ID,
} from "../requests/schema-parts.ts";

const PHASE = oneOf("restoring", "replaying", "ready", "stopping", "failed");

const FAILURE = object({ code: TEXT, message: TEXT, hint: nullable(TEXT) });

const NODE_FAILURE = object({
  code: TEXT,
  message: TEXT,
  hint: nullable(TEXT),
  retries: FLAG,
  nextTryAt: nullable(TIME),
});

/** The progress of a phase. */
const PROGRESS = object({
  unit: oneOf("bytes", "transactions", "documents"),
  done: COUNT,
  total: COUNT,
  etaMs: nullable(MILLISECONDS),
});

const LOG = object({
  name: nullable(TEXT),
  location: nullable(TEXT),
  id: nullable(TEXT),
  firstTxId: nullable(TX_ID),
  lastTxId: nullable(TX_ID),
  reachable: nullable(FLAG),
  exists: nullable(FLAG),
  backup: nullable(
    object({ location: TEXT, newestSegmentAt: nullable(TIME), ageMs: nullable(MILLISECONDS) }),
  ),
  warnings: array(object({ code: TEXT, message: TEXT, hint: TEXT })),
});

const DIVERGENCE_STATE = oneOf("open", "waiting", "comparing");

const INDEX = object(
  {
    txId: nullable(TX_ID),
    txTime: nullable(TIME),
    documents: nullable(COUNT),
    bytes: nullable(BYTES),
    version: COUNT,
    lag: nullable(COUNT),
    chains: array(object({ txId: TX_ID, history: TEXT, effects: TEXT })),
    divergence: nullable(
      object({ since: TIME, code: TEXT, message: TEXT, hint: TEXT, from: COUNT, state: DIVERGENCE_STATE }),
    ),
    lastScrub: nullable(object({ at: TIME, durationMs: MILLISECONDS, bytes: BYTES })),
    warning: object({ code: TEXT, message: TEXT, hint: TEXT }),
  },
  ["txId", "txTime", "documents", "bytes", "version", "lag", "chains", "divergence", "lastScrub"],
);

const JOIN = object({
  restoredFrom: nullable(object({ name: TEXT, store: TEXT, txId: TX_ID })),
  skipped: array(object({ name: TEXT, store: TEXT, code: TEXT, message: TEXT })),
  movedAside: array(object({ path: TEXT, code: TEXT, message: TEXT })),
  orphans: COUNT,
  replayed: COUNT,
  readyAfterMs: nullable(MILLISECONDS),
});

const STALLED = object({
  phase: PHASE,
  txId: TX_ID,
  since: TIME,
  forMs: MILLISECONDS,
  waitingFor: oneOf("log", "messages", "store", "files"),
  message: TEXT,
});

const CHECKPOINTS = object({
  last: nullable(object({ name: TEXT, txId: TX_ID, takenAt: TIME, bytes: BYTES, ageMs: MILLISECONDS })),
  lastSaved: nullable(object({ name: TEXT, txId: TX_ID, bytes: BYTES, at: TIME, durationMs: MILLISECONDS })),
  lastVerified: nullable(
    object({
      name: TEXT,
      txId: TX_ID,
      verifiedAt: TIME,
      node: TEXT,
      digest: TEXT,
      ageMs: MILLISECONDS,
      durationMs: nullable(MILLISECONDS),
    }),
  ),
  lastDrill: nullable(
    object({
      at: TIME,
      durationMs: MILLISECONDS,
      outcome: oneOf("verified", "failed"),
      name: nullable(TEXT),
      code: nullable(TEXT),
      message: nullable(TEXT),
      hint: nullable(TEXT),
    }),
  ),
  lastCheckAt: nullable(TIME),
  nextCheckAt: nullable(TIME),
  approxFrequencyMs: nullable(MILLISECONDS),
  running: nullable(object({ startedAt: TIME, step: TEXT, bytes: BYTES })),
  skipped: nullable(
    object({
      at: TIME,
      reason: oneOf("empty", "unchanged", "recent", "leased", "short-tail"),
      because: TEXT,
    }),
  ),
  warnings: array(object({ at: TIME, about: TEXT, message: TEXT, hint: TEXT })),
  lastFailure: nullable(object({ at: TIME, code: TEXT, message: TEXT, hint: nullable(TEXT) })),
  store: nullable(
    object({ location: TEXT, exclusive: FLAG, canDelete: FLAG, ranges: FLAG, checksums: TEXT }),
  ),
});

const LOG_BACKUP = object({
  location: TEXT,
  everyMs: MILLISECONDS,
  covered: nullable(array(object({ first: TX_ID, last: TX_ID }))),
  segments: nullable(COUNT),
  bytes: nullable(BYTES),
  exposed: object({ transactions: nullable(COUNT), since: nullable(TIME) }),
  lastLookAt: nullable(TIME),
  nextLookAt: nullable(TIME),
  failedLooks: COUNT,
  written: object({ segments: COUNT, bytes: BYTES }),
  warnings: array(object({ code: TEXT, message: TEXT, hint: TEXT })),
  lastFailure: nullable(FAILURE),
});

const RATE = object({
  perSecond: { type: "number", format: "double", minimum: 0 },
  p50Ms: nullable(MILLISECONDS),
  p99Ms: nullable(MILLISECONDS),
});

const RESOURCES = object({
  uptimeMs: MILLISECONDS,
  memoryBytes: BYTES,
  processorMs: MILLISECONDS,
  diskFreeBytes: nullable(BYTES),
  diskTotalBytes: nullable(BYTES),
  reads: RATE,
  writes: RATE,
});

/** The part of GET /status that other nodes pass on. */
const PEER_STATUS = object({
  version: TEXT,
  phase: TEXT,
  log: without(LOG, ["backup"]),
  index: without(INDEX, ["chains"]),
  join: object({
    restoredFrom: nullable(object({ name: TEXT })),
    movedAside: array(object({ code: TEXT, message: TEXT })),
    orphans: COUNT,
    replayed: COUNT,
    readyAfterMs: nullable(MILLISECONDS),
  }),
  progress: nullable(PROGRESS),
  stalled: nullable(object({ since: TIME, forMs: MILLISECONDS, message: TEXT })),
  checkpoints: without(CHECKPOINTS, ["store"], {
    lastVerified: nullable(
      object({ name: TEXT, txId: TX_ID, verifiedAt: TIME, node: TEXT, ageMs: MILLISECONDS }),
    ),
  }),
  logBackup: nullable(without(LOG_BACKUP, ["covered", "nextLookAt", "failedLooks", "written"])),
  failure: nullable(NODE_FAILURE),
  resources: RESOURCES,
});

const FINDING = object({
  severity: oneOf("failing", "attention", "notice"),
  node: nullable(TEXT),
  code: nullable(TEXT),
  message: TEXT,
  hint: nullable(TEXT),
  since: nullable(TIME),
});

export const CLUSTER_STATUS = object({
  at: TIME,
  askedBy: object({ node: TEXT, instance: TEXT }),
  verdict: object({ state: oneOf("well", "attention", "failing"), message: TEXT, hint: nullable(TEXT) }),
  log: object({ name: nullable(TEXT), id: nullable(TEXT), lastTxId: nullable(TX_ID) }),
  nodes: array(
    object({
      instance: TEXT,
      node: TEXT,
      host: TEXT,
      pid: COUNT,
      startedAt: TIME,
      status: PEER_STATUS,
      sameLog: nullable(FLAG),
      past: nullable(object({ version: COUNT, txId: TX_ID, history: TEXT, effects: TEXT })),
    }),
  ),
  silent: array(object({ instance: TEXT, node: TEXT, forMs: MILLISECONDS })),
  sameId: array(TEXT),
  past: nullable(object({ txId: TX_ID, differ: nullable(oneOf("history", "effects")) })),
  findings: array(FINDING),
});

/** Returns the schema of an object without some properties, and with others that replace them. */
function without(
  schema: OpenApiObject,
  omitted: readonly string[],
  replaced: OpenApiObject = {},
): OpenApiObject {
  const isKept = (name: string): boolean => !omitted.includes(name);
  const properties = Object.entries({ ...(schema["properties"] as OpenApiObject), ...replaced });
  return object(
    Object.fromEntries(properties.filter(([name]) => isKept(name))),
    (schema["required"] as readonly string[]).filter(isKept),
  );
}

export const STATUS = object({
  node: TEXT,
  version: TEXT,
  phase: PHASE,
  log: LOG,
  index: INDEX,
  join: JOIN,
  progress: nullable(PROGRESS),
  stalled: nullable(STALLED),
  checkpoints: CHECKPOINTS,
  logBackup: nullable(LOG_BACKUP),
  failure: nullable(NODE_FAILURE),
  resources: RESOURCES,
});

/** The fields next to the error of a node that is not ready. */
export const NOT_READY_DETAILS = {
  ready: FLAG,
  phase: PHASE,
  progress: nullable(PROGRESS),
  failure: nullable(NODE_FAILURE),
};
