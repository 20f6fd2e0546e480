import { setImmediate } from "node:timers/promises";
import { manualClock } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Movement, StallWatch, type WaitingFor } from "@cairn/engine/src/node/stall-watch";

const LOG: WaitingFor = { what: "log", text: "the log to answer" };

let clock = manualClock(0);
let now: Movement | undefined;
let waitingFor: WaitingFor | undefined;
let told: string[] = [];
let asked = 0;
let explain: () => Promise<WaitingFor | undefined>;
let watch: StallWatch;

beforeEach(() => {
  clock = manualClock(0);
  now = { phase: "replaying", txId: 7, mark: "7" };
  waitingFor = LOG;
  told = [];
  asked = 0;
  explain = () => Promise.resolve(waitingFor);
  watch = new StallWatch({
    look: () => now,
    explain: () => {
      asked += 1;
      return explain();
    },
    onChange: () => {
      const { stalled } = watch;
      told.push(stalled === null ? "moves" : `stalled after ${stalled.forMs}: ${stalled.message}`);
    },
    onError: (error) => void told.push(String(error)),
    clock,
  });
  watch.start();
});
afterEach(() => watch.stop());

/** Advances the time in steps of the watch's interval. */
async function pass(ms: number, each: () => void = () => {}): Promise<void> {
  for (let passed = 0; passed < ms; passed += 3_000) {
    each();
    clock.advance(3_000);
    // This lets the handlers of settled promises run.
    await setImmediate();
  }
}

describe("a stall", () => {
  it("is reported once, after thirty seconds, with phase and position", async () => {
    await pass(30_000);
    expect(watch.stalled).toBeNull();
    await pass(6_000);
    expect(watch.stalled).toMatchObject({
      phase: "replaying",
      txId: 7,
      forMs: 33_000,
      waitingFor: "log",
      message: "The node is replaying at transaction 7 and is waiting for the log to answer.",
    });
    await pass(60_000);
    expect(watch.stalled?.forMs).toBe(93_000);
    expect(told).toEqual([`stalled after 33000: ${watch.stalled?.message}`]);
  });

  it("ends with one report when there is progress", async () => {
    await pass(60_000);
    now = { phase: "replaying", txId: 8, mark: "8" };
    expect(watch.stalled).toBeNull();
    await pass(6_000);
    expect(told).toHaveLength(2);
    expect(told[1]).toBe("moves");
  });

  it("is not reported while there is progress, however slow", async () => {
    let n = 0;
    await pass(3_600_000, () => {
      n += 1;
      if (n % 9 === 0) now = { phase: "restoring", txId: 0, mark: `${n}` };
    });
    expect(told).toEqual([]);
    expect(asked).toBe(0);
  });

  it("is not reported while there is nothing to do, which also resets the time", async () => {
    waitingFor = undefined;
    await pass(3_600_000);
    expect(told).toEqual([]);
    waitingFor = LOG;
    await pass(36_000);
    expect(told).toHaveLength(1);
    expect(watch.stalled?.forMs).toBeLessThanOrEqual(63_000);
  });

  it("is not reported for a single check of a log that was briefly unreachable", async () => {
    waitingFor = undefined;
    await pass(30_000);
    waitingFor = LOG;
    await pass(3_000);
    expect(asked).toBe(1);
    waitingFor = undefined;
    await pass(60_000);
    expect(told).toEqual([]);
  });

  it("of a node that had caught up begins with the check that found more work", async () => {
    now = { phase: "ready", txId: 7, mark: "7", isCaughtUp: true };
    waitingFor = undefined;
    // The log is queried once in thirty seconds, and then becomes unreachable.
    await pass(33_000 + 27_000);
    waitingFor = LOG;
    await pass(6_000);
    expect(watch.stalled).toBeNull();
    await pass(24_000);
    expect(told).toEqual([]);
    await pass(6_000);
    expect(told).toEqual([
      expect.stringMatching(/^stalled after 30000: .* is waiting for the log to answer/),
    ]);
  });

  it("ends when the node halts, which has a reason of its own", async () => {
    await pass(60_000);
    now = undefined;
    await pass(3_000);
    expect(watch.stalled).toBeNull();
    await pass(90_000);
    expect(told).toHaveLength(2);
  });

  it("is reported even after a failed check, which is also reported", async () => {
    explain = () => Promise.reject(new Error("no log"));
    await pass(33_000);
    expect(told).toEqual(["Error: no log"]);
    explain = () => Promise.resolve(LOG);
    await pass(6_000);
    expect(told[1]).toMatch(/^stalled after 36000: /);
  });
});

describe("a stall watch that is stopped", () => {
  it("waits for a check in progress, and then stops checking", async () => {
    let answer: ((found: WaitingFor | undefined) => void) | undefined;
    explain = () => new Promise((resolve) => (answer = resolve));
    await pass(33_000);
    expect(asked).toBe(1);
    let isStopped = false;
    const stopped = watch.stop().then(() => (isStopped = true));
    await setImmediate();
    expect(isStopped).toBe(false);
    answer?.(LOG);
    await stopped;
    await pass(60_000);
    expect(asked).toBe(1);
    expect(clock.waits()).toEqual([]);
  });
});
