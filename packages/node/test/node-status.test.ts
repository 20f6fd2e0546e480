import { pino } from "pino";
import { expect, it, onTestFinished, vi } from "vitest";
import { CairnError } from "@cairn/kv";
import { JoinReport } from "@cairn/engine/src/join/join-report";
import type { NodeMetrics, TxLog } from "@cairn/engine";
import type { NodeLife } from "@cairn/engine/src/node/node-life";
import { nodeStatus } from "@cairn/engine/src/node/node-status";
import { LastResults, NodeObservation, RefusedSubmissions } from "@cairn/engine/src/node/node-observation";
import { RESOURCES } from "@cairn/test-support/nodes/memory-node";

const SYSTEM: Parameters<typeof nodeStatus>[3] = {
  checkpointer: undefined,
  onLogMismatch: { regressed: "rebuild", different: "halt" },
};
const QUIET = { stalled: null, divergence: null, logWarnings: [], sharesId: false };

it("the status never reports a failed node without its failure, even if the node fails while the log is queried", async () => {
  let failure: CairnError | undefined;
  const log = {
    name: "cairn",
    bounds: () => {
      failure = new CairnError("LOG_DIFFERENT", "It is another log.");
      return Promise.resolve({ first: 1, last: 1 });
    },
  } as unknown as TxLog;
  const parts = {
    get phase() {
      return failure === undefined ? "restoring" : "failed";
    },
    get reportedPhase() {
      return failure === undefined ? "restoring" : "failed";
    },
    get failure() {
      return failure;
    },
    recovery: { retries: true, nextTryAt: undefined },
    log,
    logName: "cairn",
    following: undefined,
    identity: undefined,
    index: undefined,
    report: new JoinReport(),
    attachment: { status: null },
    ownIndexes: undefined,
    services: undefined,
    observation: {
      lastResults: new LastResults(),
      refusals: new RefusedSubmissions(),
      unusableFiles: [],
      certificate: undefined,
      refusedConnections: undefined,
    },
  } as unknown as NodeLife;
  const ask = async () => await nodeStatus("a", parts, QUIET, SYSTEM, RESOURCES);
  expect(await ask()).toMatchObject({ phase: "restoring", failure: null });
  expect(await ask()).toMatchObject({ phase: "failed", failure: { code: "LOG_DIFFERENT" } });
});

const UNCOMPARED = {
  phase: "ready",
  reportedPhase: "ready",
  failure: undefined,
  recovery: { retries: true, nextTryAt: undefined },
  log: { name: "cairn", bounds: () => Promise.resolve({ first: 1, last: 1 }) } as unknown as TxLog,
  logName: "cairn",
  following: { isLogAway: true, logProblem: undefined },
  identity: undefined,
  index: undefined,
  report: new JoinReport(),
  attachment: { status: null },
  ownIndexes: undefined,
  services: undefined,
  observation: {
    lastResults: new LastResults(),
    refusals: new RefusedSubmissions(),
    unusableFiles: [],
    certificate: undefined,
    refusedConnections: undefined,
  },
} as unknown as NodeLife;

it("the bounds of a log that has not been compared yet are not reported as those of the node's log", async () => {
  const { log } = await nodeStatus("a", UNCOMPARED, QUIET, SYSTEM, RESOURCES);
  expect(log).toMatchObject({ firstTxId: null, lastTxId: null, reachable: false, exists: null });
  expect(log.warnings.map(({ code }) => code)).toEqual(["LOG_UNREACHABLE"]);
});

it.each([
  ["rebuild", ["different-log-accepted"]],
  ["halt", []],
] as const)(
  "a node reports that the next loss of its log would move a good index aside: %s, %j",
  async (different, codes) => {
    const system = { ...SYSTEM, onLogMismatch: { regressed: "rebuild", different } as const };
    const { findings } = await nodeStatus("a", UNCOMPARED, QUIET, system, RESOURCES);
    const notices = findings.filter(({ severity }) => severity === "notice");
    expect(notices.map(({ code }) => code)).toEqual(codes);
  },
);

it("refused connections are a finding until none has been refused for two minutes", async () => {
  vi.useFakeTimers({ now: 0, toFake: ["performance", "Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const metrics = { onEvent: () => {} } as unknown as NodeMetrics;
  const observation = new NodeObservation(metrics, pino({ level: "silent" }));
  const after = async (ms: number) => {
    vi.advanceTimersByTime(ms);
    const { findings } = await nodeStatus("a", { ...UNCOMPARED, observation }, QUIET, SYSTEM, RESOURCES);
    return findings.filter(({ code }) => code === "connections-refused");
  };
  const refuse = (message: string): void =>
    observation.noteRefused(new CairnError("OVERLOADED", message, "Use another node."));
  expect(await after(0)).toEqual([]);
  refuse("watches");
  expect(await after(100_000)).toMatchObject([
    { severity: "attention", error: "OVERLOADED", message: "watches", hint: "Use another node." },
  ]);
  refuse("connections");
  const since = new Date(0).toISOString();
  expect(await after(119_999)).toMatchObject([{ message: "connections", since }]);
  expect(await after(1)).toEqual([]);
});
