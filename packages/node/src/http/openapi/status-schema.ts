import {
  array,
  BYTES,
  COUNT,
  FLAG,
  MILLISECONDS,
  nullable,
  object,
  oneOf,
  TEXT,
  TIME,
  TX_ID,
} from "../requests/schema-parts.ts";

const PHASE = oneOf("restoring", "replaying", "ready", "stopping", "failed");

const FAILURE = object(
  { code: TEXT, message: TEXT, hint: nullable(TEXT), retries: FLAG, nextTryAt: nullable(TIME) },
  ["code", "message", "hint"],
);

/** The progress of a phase. */
const PROGRESS = object({
  unit: oneOf("bytes", "transactions", "documents"),
  done: COUNT,
  total: COUNT,
  etaMs: nullable(MILLISECONDS),
});

const LOG = object(
  {
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
  },
  ["name", "id", "firstTxId", "lastTxId", "reachable", "exists", "backup", "warnings"],
);

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

/** The body of GET /status. */
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
  failure: nullable(FAILURE),
});

/** The fields next to the error of a node that is not ready. */
export const NOT_READY_DETAILS = {
  ready: FLAG,
  phase: PHASE,
  progress: nullable(PROGRESS),
  failure: nullable(FAILURE),
};
