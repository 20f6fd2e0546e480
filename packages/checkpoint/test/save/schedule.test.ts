import { expect, test } from "vitest";
import { firstLookDelay, nextLookDelay, retryDelay } from "../../src/index.ts";
import { leaseDuration } from "../../src/save/lease.ts";
import { decideRound, type RoundSituation } from "../../src/save/schedule.ts";

const HOUR = 3_600_000;
const NOW = Date.parse("2026-11-20T06:00:00.000Z");

const situation: RoundSituation = {
  approxFrequency: HOUR,
  forced: false,
  newest: { txId: 10, takenAt: NOW - 2 * HOUR },
  txId: 11,
  storeNow: NOW,
};

test("the first look comes soon, and never later than half a minute or a tenth of the period", () => {
  expect(firstLookDelay(6 * HOUR, 0)).toBe(0);
  expect(firstLookDelay(6 * HOUR, 0.999)).toBeLessThan(30_000);
  expect(firstLookDelay(50, 0.999)).toBeLessThan(5);
});

test("the next look comes when the newest checkpoint is 0.9 to 1.1 periods old", () => {
  for (const random of [0, 0.25, 0.5, 0.999]) {
    const delay = nextLookDelay({ approxFrequency: HOUR, newestTakenAt: NOW - 1000, storeNow: NOW, random });
    expect(delay + 1000).toBeGreaterThanOrEqual(0.9 * HOUR);
    expect(delay + 1000).toBeLessThan(1.1 * HOUR);
  }
});

test("each of twenty consecutive looks is about a period after the previous one", () => {
  let now = NOW;
  let state = 7;
  for (let look = 0; look < 20; look++) {
    state = (state * 48_271) % 2_147_483_647;
    const random = state / 2_147_483_647;
    const delay = nextLookDelay({ approxFrequency: HOUR, newestTakenAt: now, storeNow: now, random });
    expect(Math.abs(delay - HOUR)).toBeLessThanOrEqual(0.1 * HOUR);
    now += delay;
  }
});

test("with an overdue checkpoint, the next look is a period after this one", () => {
  const overdue = { newestTakenAt: NOW - 5 * HOUR, storeNow: NOW, random: 0.5 };
  expect(nextLookDelay({ approxFrequency: HOUR, ...overdue })).toBe(HOUR);
});

test("while there is no checkpoint, the next look comes within one to five minutes, or after a shorter period", () => {
  const none = { newestTakenAt: undefined, storeNow: NOW };
  const delays = [0, 0.5, 1].map((random) => nextLookDelay({ approxFrequency: 6 * HOUR, ...none, random }));
  expect(delays).toEqual([60_000, 180_000, 300_000]);
  expect(nextLookDelay({ approxFrequency: 10_000, ...none, random: 0.5 })).toBe(10_000);
});

test("a checkpoint from the future counts as taken now, however wrong the clock was", () => {
  const newestTakenAt = NOW + 1000 * HOUR;
  expect(nextLookDelay({ approxFrequency: HOUR, newestTakenAt, storeNow: NOW, random: 0.5 })).toBe(HOUR);
  const decided = decideRound({ ...situation, newest: { txId: 10, takenAt: newestTakenAt } });
  expect(decided).toMatchObject({ save: false, reason: "recent" });
});

test("after a look that finds a held lease, the next look comes soon, since the holder may have died", () => {
  const delay = nextLookDelay({
    approxFrequency: HOUR,
    newestTakenAt: NOW - 5 * HOUR,
    storeNow: NOW,
    leased: true,
    random: 0.5,
  });
  expect(delay).toBe(HOUR / 10);
});

test("after a look that finds a held lease, the next look comes at a random time soon after it has expired", () => {
  const met = { approxFrequency: HOUR, newestTakenAt: undefined, storeNow: NOW, leased: true, random: 0.5 };
  expect(nextLookDelay({ ...met, leasedFor: 40_000 })).toBe(61_000);
  expect(nextLookDelay({ ...met, leasedFor: 40_000, random: 0 })).toBe(41_000);
  expect(nextLookDelay({ ...met, leasedFor: -5, random: 0.9 })).toBe(1_000);
  expect(nextLookDelay({ ...met, leasedFor: HOUR })).toBe(HOUR / 10);
});

test("looks are spread even if the period is shorter than a second", () => {
  const delays = [0, 0.5, 0.99].map((random) =>
    nextLookDelay({ approxFrequency: 50, newestTakenAt: NOW, storeNow: NOW, random }),
  );
  expect(new Set(delays).size).toBe(3);
});

test("failures are retried with growing pauses, of at most about a quarter of a period", () => {
  const delays = [1, 2, 3, 4, 50].map((failures) => retryDelay(HOUR, failures, 0.5));
  expect(delays).toEqual([5_000, 10_000, 20_000, 40_000, HOUR / 4]);
  expect(retryDelay(50, 1, 0.5)).toBe(50);
});

test("the first checkpoint is saved", () => {
  expect(decideRound({ ...situation, newest: undefined })).toMatchObject({ save: true });
});

test("a changed index is saved once the newest checkpoint is old enough", () => {
  expect(decideRound(situation)).toMatchObject({ save: true });
  const recent = { ...situation, newest: { txId: 10, takenAt: NOW - HOUR / 2 } };
  expect(decideRound(recent)).toMatchObject({ save: false, reason: "recent" });
});

test("at the earliest time that the schedule gives, the newest checkpoint is not too recent", () => {
  const takenAt = NOW - 0.9 * HOUR;
  expect(decideRound({ ...situation, newest: { txId: 10, takenAt } })).toMatchObject({ save: true });
});

test("an unchanged index is not saved again, not even on request", () => {
  for (const forced of [false, true]) {
    expect(decideRound({ ...situation, txId: 10, forced })).toMatchObject({
      save: false,
      reason: "unchanged",
    });
  }
});

test("an index behind the newest checkpoint is not saved", () => {
  expect(decideRound({ ...situation, txId: 9 })).toMatchObject({ save: false, reason: "unchanged" });
});

test("an index without transactions counts as unchanged", () => {
  const empty = { ...situation, txId: undefined, newest: undefined, forced: true };
  expect(decideRound(empty)).toMatchObject({ save: false, reason: "empty" });
});

test("on request, a changed index is saved however recent the newest checkpoint is", () => {
  const recent = { ...situation, newest: { txId: 10, takenAt: NOW }, forced: true };
  expect(decideRound(recent)).toMatchObject({ save: true });
});

test("an unchanged index is saved again once the newest checkpoint is older than refresh-after", () => {
  const unchanged = { ...situation, txId: 10 };
  expect(decideRound({ ...unchanged, refreshAfter: 2 * HOUR })).toMatchObject({ save: true });
  expect(decideRound({ ...unchanged, refreshAfter: 3 * HOUR })).toMatchObject({ save: false });
});

test.each([1, 5, 100])("a cluster of %i nodes saves about one checkpoint per period", (nodes) => {
  const { perPeriod, longestGap } = simulate(nodes, 400);
  expect(perPeriod).toBeGreaterThan(0.9);
  expect(perPeriod).toBeLessThan(1.15);
  expect(longestGap).toBeLessThan(1.15);
});

/** Simulates nodes with ever-changing indexes that follow the schedule and share one store. Times are in periods. */
function simulate(nodes: number, periods: number): { perPeriod: number; longestGap: number } {
  let state = 42;
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const looks = Array.from({ length: nodes }, () => firstLookDelay(HOUR, random()));
  const saved: number[] = [];
  for (;;) {
    const now = Math.min(...looks);
    if (now > periods * HOUR) break;
    const takenAt = saved.at(-1);
    const newest = takenAt === undefined ? undefined : { txId: saved.length, takenAt };
    const decision = decideRound({ ...situation, newest, txId: saved.length + 1, storeNow: now });
    if (decision.save) saved.push(now);
    const next = nextLookDelay({
      approxFrequency: HOUR,
      newestTakenAt: saved.at(-1),
      storeNow: now,
      random: random(),
    });
    looks[looks.indexOf(now)] = now + next;
  }
  const gaps = saved.slice(1).map((at, index) => at - (saved[index] ?? 0));
  return { perPeriod: saved.length / periods, longestGap: Math.max(...gaps) / HOUR };
}

test("the lease of a dead node ends within half a period, and within a minute at most", () => {
  expect(leaseDuration(6 * HOUR)).toBe(60_000);
  expect(leaseDuration(20_000)).toBe(10_000);
  expect(leaseDuration(100)).toBe(3_000);
});
