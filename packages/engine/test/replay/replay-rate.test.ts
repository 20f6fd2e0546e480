import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { memoryProvider } from "@cairn/kv";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, it, onTestFinished } from "vitest";
import { IndexStore } from "../../src/index/index-store.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { readLogIdentity } from "../../src/log/log-identity.ts";
import { followingMetrics, Instruments } from "@cairn/http/src/metrics/work-metrics";
import { JoinReport } from "../../src/join/join-report.ts";
import { Following } from "../../src/node/following.ts";
import { ReplayRate } from "../../src/replay/replay-rate.ts";
import { encodeBirthRecord, encodeTransaction } from "../../src/transactions/transaction-codec.ts";

/** The estimate before any measurement, at 50,000 transactions per second. */
const ASSUMED_MS = 1_000;
const ASSUMED_TRANSACTIONS = 50_000;

/** Replays a log with this number of messages in an empty index. Returns the rate and the total duration (ms). */
async function replay(messages: number): Promise<{ readonly rate: ReplayRate; readonly tookMs: number }> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-rate-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
  onTestFinished(() => log.close());
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0 }));
  const id = (await log.id()) ?? "";
  const payload = encodeTransaction({ ops: [["put", "things", "default/a", 1]] }, id);
  await Promise.all(Array.from({ length: messages - 1 }, () => log.append(payload)));
  const identity = await readLogIdentity(log);
  if (identity === undefined) throw new Error("there is no log");
  const index = await IndexStore.open(
    await memoryProvider().open(path.join(folder, "index")),
    emptyState(identity),
  );
  onTestFinished(() => index.close());
  const rate = new ReplayRate();
  expect(rate.timeFor(ASSUMED_TRANSACTIONS)).toBe(ASSUMED_MS);
  const stop = new AbortController();
  const begunAt = performance.now();
  const following = new Following({
    index,
    identity,
    history: log,
    logger: pino({ level: "silent" }),
    figures: followingMetrics(new Instruments(new Registry())),
    report: new JoinReport(),
    rate,
    distrust: (error) => stop.abort(error),
    onApplied: () => undefined,
    startServices: () => {
      stop.abort();
      return undefined;
    },
    onReady: () => undefined,
  });
  await following.run(stop.signal);
  return { rate, tookMs: performance.now() - begunAt };
}

it("the rate is measured in the last replay of 10,000 transactions or more", async () => {
  const { rate, tookMs } = await replay(10_000);
  expect(rate.timeFor(ASSUMED_TRANSACTIONS)).not.toBe(ASSUMED_MS);
  expect(rate.timeFor(10_000)).toBeLessThanOrEqual(tookMs);
  expect(rate.timeFor(20_000)).toBeCloseTo(2 * rate.timeFor(10_000));
});

it("a short replay does not change the rate", async () => {
  const { rate } = await replay(1_000);
  expect(rate.timeFor(ASSUMED_TRANSACTIONS)).toBe(ASSUMED_MS);
});

it("messages that were read before an interruption do not count, because the length of the interruption is unknown", () => {
  const rate = new ReplayRate();
  rate.begun(0);
  rate.begun(9_000);
  rate.ended(18_000);
  expect(rate.timeFor(ASSUMED_TRANSACTIONS)).toBe(ASSUMED_MS);
  rate.begun(18_000);
  rate.ended(28_000);
  expect(rate.timeFor(ASSUMED_TRANSACTIONS)).not.toBe(ASSUMED_MS);
});
