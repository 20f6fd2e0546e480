import { expect, test } from "vitest";
import type { ClusterFinding, PeerStatus } from "@cairn/client";
import type { Peer } from "../../src/cluster/ask-cluster.ts";
import {
  clusterFindings,
  clusterVerdict,
  findingText,
  notAsked,
} from "../../src/cluster/cluster-findings.ts";
import type { ClusterView } from "../../src/cluster/cluster-view.ts";
import { passedOn } from "../../src/cluster/peer-messages.ts";
import { MemoryNode, RESOURCES } from "../http/memory-node.ts";

const NOW = Date.parse("2026-11-20T12:00:00.000Z");
const HOUR = 3_600_000;

function ago(ms: number): string {
  return new Date(NOW - ms).toISOString();
}

const { log, index, ...status } = passedOn(await new MemoryNode().status());
const STATUS: PeerStatus = {
  ...status,
  log: { ...log, id: "one", lastTxId: 10 },
  index: { ...index, txId: 10, bytes: 2 ** 30 },
};
const RETRYING = { retries: true, nextTryAt: null };

function peer(node: string, changes: Partial<PeerStatus> = {}): Peer {
  const startedAt = ago(24 * HOUR);
  return { instance: `i-${node}`, node, host: "h", pid: 1, startedAt, status: { ...STATUS, ...changes } };
}

function view(peers: readonly Peer[], parts: Partial<ClusterView> = {}): ClusterView {
  return { log: { name: "l", id: "one", lastTxId: 10 }, peers, silent: [], past: undefined, ...parts };
}

function saving(parts: Partial<PeerStatus["checkpoints"]>, ageMs: number): Pick<PeerStatus, "checkpoints"> {
  const last = { name: "c", txId: 7, takenAt: ago(ageMs), bytes: 1, ageMs };
  return { checkpoints: { ...STATUS.checkpoints, approxFrequencyMs: HOUR, last, ...parts } };
}

function found(peers: readonly Peer[]): readonly ClusterFinding[] {
  return clusterFindings(view(peers), NOW);
}

test("a healthy cluster has no findings, and its verdict counts the nodes", () => {
  const healthy = view([peer("a"), peer("b"), peer("c", { phase: "restoring" })]);
  expect(clusterFindings(healthy, NOW)).toEqual([]);
  expect(clusterVerdict(healthy, [])).toEqual({
    state: "well",
    message: "2 nodes are ready, and 1 not yet.",
    hint: null,
  });
  const none = view([peer("a", { phase: "replaying" })]);
  expect(clusterVerdict(none, [])).toMatchObject({
    state: "attention",
    hint: expect.stringContaining("PT30S"),
  });
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
      join: { ...STATUS.join, movedAside: [{ code: "INDEX_CORRUPT", message: "It." }], orphans: 2 },
    }),
    peer("b", { phase: "failed", failure }),
  ];
  const findings = clusterFindings(view(peers), NOW);
  expect(findings.map(({ severity, node }) => [severity, node])).toEqual([
    ["failing", "b"],
    ["attention", "a"],
    ["notice", "a"],
  ]);
  expect(clusterVerdict(view(peers), findings)).toEqual({
    state: "failing",
    message: "b: LOG_GAP: A message is missing.",
    hint: "Recover the log.",
  });
  const notice = clusterFindings(
    view([peer("a", { join: { ...STATUS.join, movedAside: [{ code: "X", message: "It." }] } })]),
    NOW,
  );
  expect(clusterVerdict(view([peer("a")]), notice).state).toBe("well");
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
  const stalled = { forMs: 90_000, message: "It waits for the log.", since: ago(90_000) };
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
  const failed = (parts: Partial<PeerStatus["checkpoints"]>): readonly ClusterFinding[] =>
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
    { severity: "attention", code: "CHECKPOINT_CORRUPT", since: ago(HOUR) },
  ]);
  const lastVerified = { name: "c", txId: 7, verifiedAt: ago(1), node: "b", ageMs: 1 };
  expect(found([peer("a", saving({ lastDrill, lastVerified }, 0))])).toEqual([]);
  const warning = { code: "LOG_UNSAFE", message: "It loses messages.", hint: "Change it." };
  const backup = {
    location: "file:///store",
    everyMs: HOUR,
    segments: 1,
    bytes: 1,
    lastLookAt: ago(5),
    exposed: { transactions: 1, since: ago(5) },
    lastFailure: { ...warning, code: "STORE_FULL" },
  };
  const findings = found([
    peer("a", {
      log: { ...STATUS.log, warnings: [warning] },
      logBackup: { ...backup, warnings: [{ ...warning, code: "SEGMENT_CORRUPT" }] },
      ...saving({ warnings: [{ ...warning, at: ago(7), about: "clock" }] }, 0),
    }),
  ]);
  expect(findings.map(({ code, since }) => [code, since])).toEqual([
    ["LOG_UNSAFE", null],
    [null, ago(7)],
    ["STORE_FULL", ago(5)],
    ["SEGMENT_CORRUPT", null],
  ]);
});

test("the newest checkpoint is overdue after two of the longest gaps, if transactions have waited that long", () => {
  const bound = 2.2 * HOUR + 60_000;
  const overdue = (parts: Partial<PeerStatus["checkpoints"]>, ageMs: number): readonly string[] =>
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
  // Another node knows a newer checkpoint, no node saves any, or the nodes have just been started.
  const late = peer("a", saving({}, 5 * HOUR));
  const newer = { name: "d", txId: 10, takenAt: ago(1), bytes: 1, ageMs: 1 };
  expect(found([late, peer("b", saving({ last: newer }, 0))])).toEqual([]);
  expect(overdue({ approxFrequencyMs: null }, 5 * HOUR)).toEqual([]);
  expect(found([{ ...late, startedAt: ago(HOUR) }])).toEqual([]);
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

test("nodes of another log are not judged, and an error of the log is the finding of the asking node", () => {
  const failure = { code: "X", message: "No.", hint: null, ...RETRYING };
  expect(found([peer("a", { log: { ...STATUS.log, id: "two" }, failure })])).toEqual([]);
  expect(notAsked("a", { code: "LOG_UNREACHABLE", message: "It is down.", hint: "Start it." })).toEqual({
    severity: "failing",
    node: "a",
    code: "LOG_UNREACHABLE",
    message: "The other nodes could not be asked. It is down.",
    hint: "Start it.",
    since: null,
  });
});
