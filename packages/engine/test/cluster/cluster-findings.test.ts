import { expect, test } from "vitest";
import type { ClusterFinding, NodeStatus } from "@cairn/client";
import type { Peer } from "../../src/cluster/ask-cluster.ts";
import { clusterFindings, clusterStatus } from "../../src/cluster/cluster-findings.ts";
import type { ClusterView } from "../../src/cluster/cluster-view.ts";
import { finding, findingText } from "../../src/findings/findings.ts";
import { withFindings } from "../../src/findings/node-findings.ts";
import { MemoryNode, RESOURCES } from "@cairn/test-support/nodes/memory-node";

const NOW = Date.parse("2026-11-20T12:00:00.000Z");
const HOUR = 3_600_000;

function ago(ms: number): string {
  return new Date(NOW - ms).toISOString();
}

const { log, index, resources, ...status } = await new MemoryNode().status();
const STATUS: NodeStatus = {
  ...status,
  resources: { ...resources, uptimeMs: 23 * HOUR },
  log: { ...log, id: "one", lastTxId: 10 },
  index: { ...index, txId: 10, bytes: 2 ** 30 },
};
const RETRYING = { retries: true, nextTryAt: null };

function peer(node: string, changes: Partial<NodeStatus> = {}): Peer {
  const startedAt = ago(24 * HOUR);
  const its = withFindings({ ...STATUS, node, ...changes }, NOW);
  return { instance: `i-${node}`, node, host: "h", pid: 1, startedAt, status: its };
}

function view(peers: readonly Peer[], parts: Partial<ClusterView> = {}): ClusterView {
  return { log: { name: "l", id: "one", lastTxId: 10 }, peers, silent: [], past: undefined, ...parts };
}

function saving(parts: Partial<NodeStatus["checkpoints"]>, ageMs: number): Pick<NodeStatus, "checkpoints"> {
  const last = { name: "c", txId: 7, takenAt: ago(ageMs), bytes: 1, ageMs };
  return { checkpoints: { ...STATUS.checkpoints, approxFrequencyMs: HOUR, last, ...parts } };
}

function found(peers: readonly Peer[]): readonly ClusterFinding[] {
  return clusterFindings(view(peers), NOW);
}

test("a healthy cluster has no findings, and its verdict counts the nodes", () => {
  const healthy = view([peer("a"), peer("b"), peer("c", { phase: "restoring" })]);
  expect(clusterFindings(healthy, NOW)).toEqual([]);
  expect(clusterStatus(healthy, NOW).verdict).toEqual({
    state: "healthy",
    message: "2 nodes are ready, and 1 not yet.",
    hint: null,
  });
});

test("a cluster of which no node is ready fails, after what each node reports, unless the others were not asked", () => {
  const failure = { code: "LOG_UNREACHABLE", message: "It is down.", hint: "Start it.", ...RETRYING };
  const restoring = { phase: "restoring", failure } as const;
  const none = view([peer("a", restoring), peer("b", { phase: "replaying" })]);
  expect(clusterStatus(none, NOW)).toMatchObject({
    verdict: {
      state: "failing",
      message: "No node is ready yet; 2 nodes responded.",
      hint: expect.stringContaining("cairn status --wait PT30S"),
    },
    findings: [
      { code: "no-node-ready", node: null },
      { code: "node-interrupted", node: "a" },
    ],
  });
  const failed = view([peer("a", { ...restoring, phase: "failed" })]);
  expect(clusterStatus(failed, NOW).findings.map(({ code }) => code)).toEqual([
    "node-failed",
    "no-node-ready",
  ]);
  const unknown = { ...finding("nodes-not-asked", { message: "No.", hint: null }), node: "a" };
  const alone = clusterStatus(view([peer("a", restoring)]), NOW, [unknown]);
  expect(alone.findings.map(({ code }) => code)).toEqual(["nodes-not-asked", "node-interrupted"]);
  const another = { log: { ...STATUS.log, id: "two" } };
  expect(clusterStatus(view([peer("a", another)]), NOW).findings).toEqual([]);
});

test("the worst finding comes first and decides the verdict", () => {
  const failure = {
    code: "LOG_GAP",
    message: "A message is missing.",
    hint: "Recover the log.",
    ...RETRYING,
  };
  const peers = [
    peer("a", {
      join: {
        ...STATUS.join,
        movedAside: [{ path: "/q", at: ago(HOUR), code: "INDEX_CORRUPT", message: "It." }],
        orphans: 2,
      },
    }),
    peer("b", { phase: "failed", failure }),
  ];
  const findings = clusterFindings(view(peers), NOW);
  expect(findings.map(({ severity, node }) => [severity, node])).toEqual([
    ["failing", "b"],
    ["attention", "a"],
    ["notice", "a"],
  ]);
  expect(clusterStatus(view(peers), NOW).verdict).toEqual({
    state: "failing",
    message: "b: LOG_GAP: A message is missing.",
    hint: "Recover the log.",
  });
  const movedAside = [{ path: "/q", at: ago(2 * HOUR), code: "X", message: "It." }];
  const moved = view([peer("a", { join: { ...STATUS.join, movedAside } })]);
  expect(clusterStatus(moved, NOW)).toMatchObject({
    findings: [{ code: "index-moved-aside", severity: "notice", since: ago(2 * HOUR) }],
    verdict: { state: "healthy" },
  });
  const hintOf = (code: string) =>
    found([
      peer("a", { join: { ...STATUS.join, movedAside: movedAside.map((one) => ({ ...one, code })) } }),
    ])[0]?.hint;
  expect(hintOf("INDEX_CORRUPT")).toMatch(/check its disk/);
  expect(hintOf("LOG_REGRESSED")).toMatch(/^Do nothing: the files of the index are intact\./);
  const earlier = movedAside.map((one) => ({ ...one, at: ago(25 * HOUR) }));
  expect(found([peer("a", { join: { ...STATUS.join, movedAside: earlier } })])).toEqual([]);
});

test("of equally severe findings, those of one kind are together, and lost transactions are got back first", () => {
  const warnings = [{ code: "LOG_REGRESSED", message: "It lost its end.", hint: "Recover it." }];
  const changes = { log: { ...STATUS.log, warnings }, join: { ...STATUS.join, orphans: 2 } };
  const findings = found([peer("a", changes), peer("b", changes)]);
  expect(findings.map(({ code, node }) => [code, node])).toEqual([
    ["transactions-lost", "a"],
    ["transactions-lost", "b"],
    ["log-at-risk", "a"],
    ["log-at-risk", "b"],
  ]);
});

test("a node that retries needs attention; silent nodes, shared ids, stalls and differences are findings", () => {
  const failure = { code: "STORE_UNREACHABLE", message: "No.", hint: null, ...RETRYING };
  expect(found([peer("a", { phase: "restoring", failure })])).toMatchObject([{ severity: "attention" }]);
  const silent = [{ node: "z", instance: "i-z", forMs: 60_000 }];
  expect(clusterFindings(view([peer("a")], { silent }), NOW)).toMatchObject([
    {
      severity: "failing",
      node: "z",
      since: ago(60_000),
      hint: expect.stringContaining("Resume or restart"),
    },
  ]);
  expect(found([peer("a"), peer("a")]).map(({ message }) => message)).toEqual([
    expect.stringMatching(/^a is the id of 2 nodes, on h \(process 1, since .*\) and on h /),
  ]);
  const waiting = { phase: "ready", txId: 7, waitingFor: "log" } as const;
  const stalled = { ...waiting, forMs: 90_000, message: "It waits for the log.", since: ago(90_000) };
  expect(found([peer("a", { stalled })])).toMatchObject([{ severity: "failing", since: ago(90_000) }]);
  const past = { txId: 6, history: "a".repeat(64), effects: "b".repeat(64), version: 7 };
  const pasts = new Map([
    ["i-a", past],
    ["i-b", { ...past, history: "c".repeat(64) }],
  ]);
  const differ = { txId: 6, pasts, differ: "history" } as const;
  expect(clusterFindings(view([peer("a"), peer("b")], { past: differ }), NOW).map(findingText)).toEqual([
    expect.stringMatching(
      /^LOG_DIFFERENT: The nodes have different transactions at transaction 6: a has history a{12}, b has history c{12}\. Wait/,
    ),
  ]);
});

test("a failure to save counts until a checkpoint is saved or a look succeeds", () => {
  const lastFailure = { at: ago(HOUR), code: "STORE_DENIED", message: "No.", hint: "Allow it." };
  const failed = (parts: Partial<NodeStatus["checkpoints"]>): readonly ClusterFinding[] =>
    found([peer("a", saving({ lastFailure, ...parts }, 0))]);
  expect(failed({}).map(findingText)).toEqual(["a: STORE_DENIED: No checkpoint was saved. No. Allow it."]);
  const saved = { name: "c", txId: 7, bytes: 1, durationMs: 1 };
  const before = ago(2 * HOUR);
  expect(failed({ lastCheckAt: before, lastSaved: { ...saved, at: before } })).toHaveLength(1);
  expect(failed({ lastCheckAt: ago(1) })).toEqual([]);
  expect(failed({ lastSaved: { ...saved, at: ago(1) } })).toEqual([]);
});

test("a failed drill counts until a checkpoint is verified; warnings of the store, the log and the backup count", () => {
  const lastDrill = {
    at: ago(HOUR),
    durationMs: 1,
    outcome: "failed",
    name: null,
    code: "CHECKPOINT_CORRUPT",
    message: "It is damaged.",
    hint: "Save another one.",
  } as const;
  expect(found([peer("a", saving({ lastDrill }, 0))])).toMatchObject([
    { severity: "attention", error: "CHECKPOINT_CORRUPT", since: ago(HOUR) },
  ]);
  const lastVerified = {
    name: "c",
    txId: 7,
    verifiedAt: ago(1),
    node: "b",
    ageMs: 1,
    digest: "",
    durationMs: null,
  };
  expect(found([peer("a", saving({ lastDrill, lastVerified }, 0))])).toEqual([]);
  const warning = { code: "LOG_UNSAFE", message: "It loses messages.", hint: "Change it." };
  const backup = {
    location: "file:///store",
    everyMs: HOUR,
    segments: 1,
    bytes: 1,
    lastLookAt: ago(5),
    covered: [],
    nextLookAt: null,
    failedLooks: 1,
    written: { segments: 0, bytes: 0 },
    exposed: { transactions: 1, since: ago(5) },
    lastFailure: { ...warning, code: "STORE_FULL", since: ago(3) },
  };
  const findings = found([
    peer("a", {
      log: { ...STATUS.log, warnings: [warning] },
      logBackup: { ...backup, warnings: [{ ...warning, code: "SEGMENT_CORRUPT" }] },
      ...saving({ warnings: [{ ...warning, at: ago(7), about: "clock" }] }, 0),
    }),
  ]);
  expect(findings.map(({ code, error, since }) => [code, error, since])).toEqual([
    ["log-at-risk", "LOG_UNSAFE", null],
    ["checkpoint-warning", null, ago(7)],
    ["log-backup-damaged", "SEGMENT_CORRUPT", null],
    ["log-backup-failing", "STORE_FULL", ago(3)],
  ]);
  const behind = (since: string, uptimeMs = 23 * HOUR) =>
    found([
      peer("a", {
        logBackup: { ...backup, warnings: [], lastFailure: null, exposed: { transactions: 1, since } },
        resources: { ...STATUS.resources, uptimeMs },
      }),
    ]).map(({ code }) => code);
  expect([behind(ago(3 * HOUR)), behind(ago(3 * HOUR + 1))]).toEqual([[], ["log-backup-behind"]]);
  // The node that was just started may be the one that writes them.
  expect(behind(ago(9 * HOUR), 3 * HOUR)).toEqual([]);
});

test("the newest checkpoint is overdue after two of the longest gaps, if transactions have waited that long", () => {
  const bound = 2.2 * HOUR + 60_000;
  const overdue = (parts: Partial<NodeStatus["checkpoints"]>, ageMs: number): readonly string[] =>
    found([peer("a", saving(parts, ageMs))]).map(({ message }) => message);
  expect(overdue({}, bound)).toEqual([]);
  expect(overdue({}, bound + 1)).toEqual([
    "The newest checkpoint is 2 h 13 min old and lacks 3 transactions. The cluster should save one about every 1 h, and within 2 h 13 min even if a round fails.",
  ]);
  // A look found nothing to save, and the transactions came later.
  const unchanged = { reason: "unchanged", because: "" } as const;
  expect(overdue({ skipped: { ...unchanged, at: ago(bound) } }, 5 * HOUR)).toEqual([]);
  expect(overdue({ skipped: { ...unchanged, at: ago(bound + 1) } }, 5 * HOUR)).toHaveLength(1);
  expect(overdue({ skipped: { ...unchanged, reason: "leased", at: ago(1) } }, 5 * HOUR)).toHaveLength(1);
  // It is one finding of the cluster, however many nodes know it.
  const late = peer("a", saving({}, 5 * HOUR));
  expect(found([late, peer("b", saving({}, 5 * HOUR))])).toMatchObject([
    { code: "checkpoint-overdue", node: null },
  ]);
  // Another node knows a newer checkpoint, no node saves any, or the nodes have just been started.
  const newer = { name: "d", txId: 10, takenAt: ago(1), bytes: 1, ageMs: 1 };
  expect(found([late, peer("b", saving({ last: newer }, 0))])).toEqual([]);
  expect(overdue({ approxFrequencyMs: null }, 5 * HOUR)).toEqual([]);
  const restarted = { ...RESOURCES, uptimeMs: HOUR };
  expect(found([peer("a", { ...saving({}, 5 * HOUR), resources: restarted })])).toEqual([]);
  // There is none at all, although the node has looked for one.
  expect(overdue({ last: null, lastCheckAt: ago(1) }, 0)).toEqual([
    expect.stringMatching(/^There is no checkpoint of 9 transactions\. The cluster should/),
  ]);
  expect(overdue({ last: null }, 0)).toEqual([]);
});

test("a shared id is one finding of the cluster, or of the node that has heard the other one while that is silent", () => {
  const twin = { ...peer("a"), status: withFindings({ ...STATUS, node: "a" }, NOW, { sharesId: true }) };
  expect(found([twin, { ...twin, pid: 2 }, peer("b")]).map(({ code, node }) => [code, node])).toEqual([
    ["same-node-id", null],
  ]);
  expect(found([twin, peer("b")]).map(findingText)).toEqual([
    expect.stringMatching(/^a: Another process uses this node's id, a\. Give each node its own id/),
  ]);
});

test("a node names its store and those of some of the nodes whose checkpoints it lacks", () => {
  const otherStores = Array.from({ length: 7 }, (_, n) => {
    const newest = { name: `checkpoint-${n}`, ageMs: HOUR };
    return { instance: `i${n}`, node: `n${n}`, location: "s3://other", at: ago(HOUR), newest };
  });
  const facts = {
    ...STATUS,
    checkpoints: { ...STATUS.checkpoints, locations: ["file:///own", "s3://more"] },
  };
  expect(withFindings(facts, NOW, { otherStores }).findings).toMatchObject([
    {
      code: "stores-differ",
      severity: "attention",
      message: expect.stringMatching(
        /^This node's store, file:\/\/\/own, lacks .*: n0 found checkpoint-0 in s3:\/\/other, .*n4 .*, and 2 more nodes\.$/,
      ),
    },
  ]);
});

function disk(diskFreeBytes: number | null): readonly string[] {
  return found([peer("a", { resources: { ...RESOURCES, diskFreeBytes } })]).map(findingText);
}

test("a disk with less free space than another index needs is reported until there is enough", () => {
  expect(disk(2 ** 30 - 1)).toEqual([
    expect.stringMatching(/^a: DISK_FULL: Only 1 GiB are free .* Free some space/),
  ]);
  expect(disk(2 ** 30)).toEqual([]);
  expect(disk(null)).toEqual([]);
});

test("a failed index of one's own is reported from its first failure until it is live, also while it is built anew", () => {
  const failure = {
    code: "OWN_INDEX_FAILED",
    message: "The index orders failed.",
    hint: "Correct its module.",
    since: ago(HOUR),
    nextTryAt: ago(1),
  };
  const own = { name: "orders", version: 3, state: "building", txId: null, served: null, built: 7 } as const;
  expect(
    found([
      peer("a", {
        ownIndexes: [
          { ...own, failure },
          { ...own, failure: null },
        ],
      }),
    ]),
  ).toMatchObject([
    {
      code: "own-index-failed",
      severity: "attention",
      since: ago(HOUR),
      error: "OWN_INDEX_FAILED",
      message: "The index orders failed.",
      hint: "Correct its module.",
    },
  ]);
  const live = { ...own, state: "live", txId: 9, served: 2, built: null, failure: null } as const;
  expect(found([peer("a", { ownIndexes: [live] })])).toEqual([]);
});

test("nodes of another log are not judged", () => {
  const failure = { code: "X", message: "No.", hint: null, ...RETRYING };
  expect(found([peer("a", { log: { ...STATUS.log, id: "two" }, failure })])).toEqual([]);
});

test("a log that refuses transactions or does not respond fails; a damaged checkpoint counts until there is a newer one", () => {
  const refused = { since: ago(5), code: "LOG_FULL", message: "It is full.", hint: "Trim it." };
  const warnings = [{ code: "LOG_UNREACHABLE", message: "It is down.", hint: "Start it." }];
  expect(found([peer("a", { log: { ...STATUS.log, refused, warnings } })])).toMatchObject([
    { code: "log-unreachable", severity: "failing" },
    {
      code: "writes-refused",
      severity: "failing",
      error: "LOG_FULL",
      message: "Transactions are refused: It is full.",
      hint: "Trim it.",
      since: ago(5),
    },
  ]);
  const skip = { name: "c", store: "s", message: "It is damaged.", others: 0 };
  const skipped = (code: string, takenAt: string): readonly string[] =>
    found([
      peer("a", {
        join: { ...STATUS.join, skipped: [{ ...skip, code }] },
        ...saving({ last: { name: "d", txId: 10, takenAt, bytes: 1, ageMs: 1 } }, 0),
      }),
    ]).map((one) => one.code);
  expect(skipped("CHECKPOINT_CORRUPT", ago(24 * HOUR))).toEqual(["checkpoint-skipped"]);
  expect(skipped("CHECKPOINT_CORRUPT", ago(HOUR))).toEqual([]);
  expect(skipped("INDEX_VERSION", ago(24 * HOUR))).toEqual([]);
});

function incomplete(name: string, store: string, others = 0): NodeStatus["join"]["skipped"][number] {
  return { name, store, code: "CHECKPOINT_INCOMPLETE", message: `${name} is cut.`, others };
}

test("damaged checkpoints that a node skipped are one finding for each store and error code", () => {
  const skipped = [
    incomplete("c5", "s"),
    incomplete("c5", "mirror"),
    incomplete("c4", "s"),
    incomplete("c3", "s", 1_397),
  ];
  expect(found([peer("a", { join: { ...STATUS.join, skipped } })]).map(({ message }) => message)).toEqual([
    "The node skipped c5, c4, c3, and 1,397 others in s when it started. Of the newest: c5 is cut.",
    "The node skipped c5 in mirror when it started. c5 is cut.",
  ]);
});
