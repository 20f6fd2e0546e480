import fc from "fast-check";
import { expect, test } from "vitest";
import {
  correctTimes,
  decideRetention,
  type RetainedCheckpoint,
  type RetentionPolicy,
} from "../../src/retain/retention.ts";

const DAY = 86_400_000;
const NOW = Date.parse("2026-11-20T06:00:00.000Z");

/** Returns checkpoints of these ages in days, newest first. */
function aged(...days: number[]): RetainedCheckpoint[] {
  return days.map((age) => ({ name: `${age} days`, takenAt: NOW - age * DAY, current: true }));
}

function verifiedOf(checkpoints: RetainedCheckpoint[], ...at: number[]): RetainedCheckpoint[] {
  return checkpoints.map((one, index) => ({ ...one, verified: at.includes(index) }));
}

function kept(checkpoints: RetainedCheckpoint[], policy: RetentionPolicy | undefined): string[] {
  return decideRetention(checkpoints, policy, NOW)
    .filter(({ keep }) => keep)
    .map(({ name }) => name);
}

test("without a policy, everything is kept", () => {
  expect(kept(aged(0, 2, 400), undefined)).toHaveLength(3);
});

test("retain-at-least alone keeps exactly that number of checkpoints", () => {
  expect(kept(aged(0), { retainAtLeast: 1 })).toEqual(["0 days"]);
  expect(kept(aged(0, 2), { retainAtLeast: 1 })).toEqual(["0 days"]);
  expect(kept(aged(0, 2), { retainAtLeast: 2 })).toEqual(["0 days", "2 days"]);
  expect(kept(aged(0, 1, 2, 3), { retainAtLeast: 3 })).toEqual(["0 days", "1 days", "2 days"]);
});

test("checkpoints that were found damaged do not count, and are removed once there are enough newer ones", () => {
  const [newest, ...older] = aged(0, 1, 2, 3);
  if (newest === undefined) throw new Error("there is no newest");
  const damaged = { ...newest, damaged: true };
  expect(kept([damaged, ...older], { retainAtLeast: 2 })).toEqual(["0 days", "1 days", "2 days"]);
  expect(kept([newest, damaged, ...older], { retainAtLeast: 1 })).toEqual(["0 days"]);
});

test("retain-newer-than alone removes older checkpoints", () => {
  expect(kept(aged(0, 2), { retainNewerThan: DAY })).toEqual(["0 days"]);
  expect(kept(aged(0, 2), { retainNewerThan: 3 * DAY })).toEqual(["0 days", "2 days"]);
});

test("with both options, the newest are kept whatever their age, and the rest are kept by age", () => {
  expect(kept(aged(0, 2), { retainAtLeast: 1, retainNewerThan: DAY })).toEqual(["0 days"]);
  expect(kept(aged(0, 2), { retainAtLeast: 2, retainNewerThan: DAY })).toEqual(["0 days", "2 days"]);
  expect(kept(aged(0, 2), { retainAtLeast: 1, retainNewerThan: 3 * DAY })).toEqual(["0 days", "2 days"]);
});

test("the newest checkpoint is kept even if it is older than retain-newer-than", () => {
  expect(kept(aged(9, 10), { retainNewerThan: DAY })).toEqual(["9 days"]);
});

test("a checkpoint from the future counts as taken when the next one was, and the newest as taken now", () => {
  const ages = (...days: number[]): number[] =>
    correctTimes(aged(...days), NOW).map(({ takenAt }) => (NOW - takenAt) / DAY);
  expect(ages(-1, -7, 2, -5, -5, 3, 1)).toEqual([0, 0, 2, 2, 2, 3, 1]);
  expect(kept(correctTimes(aged(0, -5, 3, -5), NOW), { retainNewerThan: DAY })).toEqual([
    "0 days",
    "-5 days",
  ]);
});

test("checkpoints that nodes cannot restore do not count, and are kept until there are enough others", () => {
  const old = aged(1, 2, 3).map((one) => ({ ...one, current: false }));
  expect(kept([...aged(0), ...old], { retainAtLeast: 2 })).toHaveLength(4);
  expect(kept([...aged(0), ...old, ...aged(4, 5)], { retainAtLeast: 2 })).toEqual([
    "0 days",
    "1 days",
    "2 days",
    "3 days",
    "4 days",
  ]);
  expect(kept([...aged(0, 0.5), ...old], { retainAtLeast: 2 })).toEqual(["0 days", "0.5 days"]);
});

test("the newest verified checkpoint is kept until a newer one is verified", () => {
  expect(kept(verifiedOf(aged(0, 1, 2, 3), 2, 3), { retainAtLeast: 1 })).toEqual(["0 days", "2 days"]);
  expect(kept(verifiedOf(aged(0, 1, 2, 3), 0, 2, 3), { retainAtLeast: 1 })).toEqual(["0 days"]);
});

test("checkpoints in another format are kept for a day, so that an upgrade can be reverted", () => {
  const old = aged(0.9, 1).map((one) => ({ ...one, current: false }));
  expect(kept([...aged(0), ...old], { retainAtLeast: 1 })).toEqual(["0 days", "0.9 days"]);
});

test("every decision has a reason", () => {
  const decisions = decideRetention(aged(0, 1, 9), { retainAtLeast: 1, retainNewerThan: 2 * DAY }, NOW);
  expect(decisions.map(({ because }) => because)).toEqual([
    "it is one of the newest 1",
    "it is 1 d old, younger than 2 d",
    "it is 9 d old, not younger than 2 d",
  ]);
});

test("in any store, the newest restorable checkpoint is kept, and so are at least as many as requested", () => {
  const checkpoint = fc.record({ takenAt: fc.integer({ min: 0, max: 2 * NOW }), current: fc.boolean() });
  const policy = fc.oneof(
    fc.record({ retainAtLeast: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ retainNewerThan: fc.integer({ min: 1, max: NOW }) }),
    fc.record({
      retainAtLeast: fc.integer({ min: 1, max: 5 }),
      retainNewerThan: fc.integer({ min: 1, max: NOW }),
    }),
  );
  fc.assert(
    fc.property(fc.array(checkpoint), policy, (checkpoints, rule: RetentionPolicy) => {
      const named = checkpoints.map((one, at) => ({ ...one, name: String(at) }));
      const keep = new Set(kept(named, rule));
      const restorable = named.filter(({ current }) => current);
      const wanted = Math.min(rule.retainAtLeast ?? 1, restorable.length);
      expect(restorable.filter(({ name }) => keep.has(name)).length).toBeGreaterThanOrEqual(wanted);
      for (const { name } of restorable.slice(0, wanted)) expect(keep.has(name)).toBe(true);
    }),
  );
});
