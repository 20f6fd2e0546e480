import { emptyStatus } from "@cairn/engine/testing";
import type { ClusterStatus, ListedCheckpoint, NodeStatus, QueueStatus } from "@cairn/client";

const DAY = "2026-11-20";
const STORE = "file:///data/checkpoints";

const RESOURCES: NodeStatus["resources"] = {
  uptimeMs: 60_000,
  memoryBytes: 1e8,
  processorMs: 700,
  diskFreeBytes: 1e9,
  diskTotalBytes: 1e10,
};

/** Returns the status of a ready node. */
export function readyStatus(changes: Partial<NodeStatus> = {}): NodeStatus {
  const empty = emptyStatus();
  return {
    ...empty,
    node: "a",
    version: "1.0.0",
    phase: "ready",
    verdict: { state: "healthy", message: "a is ready.", hint: null },
    log: {
      ...empty.log,
      name: "log",
      location: "nats://127.0.0.1:4222",
      id: "f4d853ab",
      firstTxId: 1,
      lastTxId: 1_200,
      reachable: true,
      exists: true,
    },
    index: {
      ...empty.index,
      txId: 1_200,
      txTime: `${DAY}T06:12:26.123Z`,
      documents: 300,
      bytes: 81_920,
      version: 1,
      lag: 0,
    },
    join: {
      ...empty.join,
      restoredFrom: { name: "checkpoint-1000-a", store: STORE, txId: 1_000 },
      replayed: 200,
      readyAfterMs: 812,
    },
    checkpoints: {
      ...empty.checkpoints,
      lastCheckAt: `${DAY}T06:00:02.000Z`,
      nextCheckAt: `${DAY}T12:05:10.000Z`,
      approxFrequencyMs: 60_000,
      locations: ["file:///data/checkpoints"],
    },
    resources: RESOURCES,
    ...changes,
  };
}

/** Returns the answers of a node by path, as the page expects them. */
export function answersOf(text: string) {
  const at = new Date().toISOString();
  const node = (instance: string, status: NodeStatus): ClusterStatus["nodes"][number] => ({
    instance,
    node: `${text}${instance}`,
    host: text,
    pid: 7,
    startedAt: at,
    status,
    sameLog: true,
    past: null,
  });
  const cluster: ClusterStatus = {
    at,
    askedBy: { node: `${text}a`, instance: "a" },
    verdict: { state: "attention", message: `${text} needs attention.`, hint: `Do ${text}.` },
    log: { name: text, id: text, lastTxId: 1_200 },
    nodes: [
      node("a", readyStatus()),
      node(
        "b",
        readyStatus({
          phase: "restoring",
          progress: { unit: "bytes", done: 400, total: 1_000, etaMs: 900 },
          attached: {
            checkpoint: `${text}-1000`,
            txId: 1_000,
            txTime: at,
            takenAt: new Date(Date.parse(at) - 720_000).toISOString(),
            requests: 12,
            bytes: 4_000_000,
          },
        }),
      ),
      node(
        "c",
        readyStatus({
          phase: "failed",
          failure: { code: "LOG_DIFFERENT", message: text, hint: text, retries: false, nextTryAt: null },
        }),
      ),
    ],
    silent: [{ node: `${text}d`, instance: "d", forMs: 15_000 }],
    sameId: [],
    past: null,
    findings: [
      {
        severity: "attention",
        node: text,
        code: text,
        error: text,
        message: text,
        meanwhile: text,
        hint: text,
        since: at,
      },
      {
        severity: "notice",
        node: null,
        code: text,
        error: null,
        message: `also ${text}`,
        meanwhile: text,
        hint: null,
        since: null,
      },
    ],
  };
  const ready = readyStatus();
  const status = readyStatus({
    node: `${text}a`,
    verdict: { state: "attention", message: text, hint: text },
    findings: [
      {
        severity: "attention",
        code: text,
        error: text,
        message: text,
        meanwhile: text,
        hint: text,
        since: at,
      },
    ],
    log: { ...ready.log, name: text, location: text, id: text },
    index: { ...ready.index, txTime: at },
    join: { ...ready.join, restoredFrom: null },
    ownIndexes: [
      { name: text, version: 3, state: "building", txId: null, served: 2, built: 350_000, failure: null },
    ],
    checkpoints: {
      ...ready.checkpoints,
      lastCheckAt: at,
      nextCheckAt: at,
      running: { startedAt: at, step: text, bytes: 7 },
      store: { location: STORE, exclusive: true, canDelete: true, checksums: "CRC32C" },
    },
  });
  const checkpoint = (name: string, changes: Partial<ListedCheckpoint>): ListedCheckpoint => ({
    name: `${text}-${name}`,
    txId: 1_000,
    takenAt: at,
    bytes: 81_920,
    node: text,
    logId: text,
    documents: 300,
    durationMs: 120,
    verifiedAt: null,
    verifiedBy: null,
    kept: { keep: true, because: text },
    ...changes,
  });
  const checkpoints = [
    checkpoint("3", {}),
    checkpoint("2", { verifiedAt: at, verifiedBy: text }),
    checkpoint("1", { damaged: true, kept: null }),
  ];
  const queue: QueueStatus = {
    name: text,
    policy: { shards: 4, cap: 100, terminal: { [text]: [text] }, lease: "PT30S" },
    entries: 60,
    open: 7,
    spare: 2,
    shards: [
      { shard: 0, state: "active", entries: 50, open: 7, epoch: 9, holder: { as: text, until: at } },
      { shard: 1, state: "retiring", entries: 10, open: 0, epoch: null, holder: null },
    ],
  };
  const document = { namespace: text, name: text, revision: 7, document: { [text]: text } };
  return {
    "/status/cluster": cluster,
    "/status": status,
    "/api/v1/checkpoints": checkpoints,
    "/api/v1/buckets": [
      { name: text, documents: 7, fields: { [text]: { counts: { [text]: 7 }, more: true } } },
    ],
    "/api/v1/queues": [queue],
    "/api/v1/pods": [document],
    [`/api/v1/sql/${encodeURIComponent(text)}`]: {
      txId: 1_200,
      columns: [text, text],
      rows: [
        [text, null],
        ["", 7],
      ],
      more: true,
    },
    "/api/v1/pods?history": [
      { revision: 7, txTime: at, deleted: false, document: { [text]: text } },
      { revision: 5, txTime: at, deleted: false, document: [text] },
    ],
  } as Readonly<Record<string, unknown>>;
}
