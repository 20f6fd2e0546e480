import { commitSeed } from "@cairn/kv/testing";
import { describe, expect, test } from "vitest";
import { anyConditions, CALM, STORMY, usualConditions } from "./conditions.ts";
import type { Conditions } from "./conditions.ts";
import type { Report } from "./report.ts";
import { simulate } from "./simulate.ts";

const SEEDS = Array.from({ length: 30 }, (_, at) => at + 1);
const SAMPLE = [commitSeed(), commitSeed() + 1, commitSeed() + 2];
const HOUR = 3_600_000;

/** Expects the rules that must hold for every cluster, whatever happens to it. */
function expectOrder(report: Report): void {
  expect(report.violations).toEqual([]);
  if (report.conditions.exclusive !== true) return;
  expect(report.mostAtOnce).toBeLessThanOrEqual(1);
  expect(report.gapBeyondLimit).toBe(0);
}

async function expectOrderWith(seed: number): Promise<void> {
  expectOrder(await simulate(anyConditions(seed, 100)));
}

test.each(SAMPLE)(
  "a cluster of any size under any faults loses nothing and leaves no gap (seed %i)",
  expectOrderWith,
);

test.each(SEEDS)(
  "a cluster of any size under any faults loses nothing and leaves no gap, with fixed seeds too (seed %i)",
  { tags: "rest/campaign" },
  expectOrderWith,
);

async function expectFiveNodesShare(periods: number): Promise<void> {
  const report = await simulate(usualConditions(7, 5, periods));
  expectOrder(report);
  expect(report.uploadsPerPeriod).toBeGreaterThanOrEqual(0.95);
  expect(report.uploadsPerPeriod).toBeLessThanOrEqual(1.1);
  expect(report.longestGap.plain).toBeLessThanOrEqual(1.5);
  expect(report.share.most).toBeLessThanOrEqual(1.5);
  expect(report.share.least).toBeGreaterThanOrEqual(1 / 1.5);
  expect(report.duplicates).toBe(0);
  expect(report.thrownAway).toBe(0);
}

describe("five nodes", () => {
  test("save one checkpoint per period, never two concurrently, and share the work", async () => {
    await expectFiveNodesShare(120);
  });

  test("do so for hundreds of periods", { tags: "rest/slow" }, async () => {
    await expectFiveNodesShare(600);
  });

  test(
    "do so while they crash, freeze and lose the store, and waste little work",
    { tags: "rest/slow" },
    async () => {
      const report = await simulate({ ...usualConditions(8, 5, 400), storm: STORMY });
      expectOrder(report);
      expect(report.uploadsPerPeriod).toBeGreaterThanOrEqual(0.95);
      expect(report.uploadsPerPeriod).toBeLessThanOrEqual(1.1);
      expect(report.longestGap.plain).toBeLessThanOrEqual(1.5);
      expect(report.longestGap.interrupted).toBeLessThanOrEqual(2);
      expect(report.thrownAway).toBeLessThan(0.15);
    },
  );

  test(
    "save about as often to a store that is not exclusive, at the cost of some duplicate uploads",
    { tags: "rest/slow" },
    async () => {
      const report = await simulate({ ...usualConditions(9, 5, 200), exclusive: false, storm: STORMY });
      expectOrder(report);
      expect(report.uploadsPerPeriod).toBeLessThanOrEqual(1.15);
      expect(report.duplicates).toBeLessThan(0.1);
    },
  );
});

async function cost(change: Partial<Conditions>): Promise<Report> {
  return simulate({ ...usualConditions(3, 2, 100), ...change });
}

test(
  "the cost of a look depends on the number of checkpoints that are kept, not on the number ever saved",
  { tags: "rest/slow" },
  async () => {
    const [short, long] = [await cost({ periods: 60 }), await cost({ periods: 300 })];
    expect(long.longestListing).toBe(short.longestListing);
    expect(long.listsPerLook).toBeCloseTo(short.listsPerLook, 0);
    const more = await cost({ periods: 80, retention: { retainAtLeast: 40, retainNewerThan: HOUR } });
    expect(more.longestListing).toBeGreaterThan(80);
    expect(more.listsPerLook).toBeCloseTo(short.listsPerLook, 0);
  },
);

test("a cluster uploads only if there is something new", async () => {
  const report = await simulate({ ...usualConditions(5, 5, 100), storm: { ...CALM, pauseOfWritesEvery: 1 } });
  expectOrder(report);
  expect(report.periods).toBeLessThan(80);
  expect(report.uploads).toBeLessThan(report.conditions.periods);
});

test.each([1, 5, 100])(
  "a log that has no transactions for hours has its first checkpoint within minutes of the first one (%i nodes)",
  async (nodes) => {
    const report = await simulate({ ...usualConditions(11, nodes, 5), emptyFor: 0.7 * 6 * HOUR });
    expectOrder(report);
    expect(report.untilFirst).toBeLessThan((5 + 2) * 60_000 + 5_000);
    expect(report.duplicates).toBe(0);
    expect(report.thrownAway).toBe(0);
  },
);

test("a node that never runs for a whole period still saves one checkpoint per period", async () => {
  const report = await simulate({ ...usualConditions(4, 1, 100), storm: { ...CALM, crashEvery: 0.4 } });
  expectOrder(report);
  expect(report.uploadsPerPeriod).toBeGreaterThan(0.85);
});

test("a store has a checkpoint soon after a long outage", { tags: "rest/slow" }, async () => {
  for (let seed = 1; seed <= 3; seed++) {
    expectOrder(await simulate({ ...usualConditions(seed, 1, 150), storm: { ...CALM, outageEvery: 2 } }));
  }
});

describe("a node that ends at any request of its first rounds", () => {
  const requests = Array.from({ length: 70 }, (_, at) => at + 1);
  test.each(["die before", "die after", "freeze after"] as const)(
    "leaves the store intact and the lease to the other node (%s each)",
    async (does) => {
      for (const request of requests) {
        const report = await simulate({
          ...usualConditions(request, 2, 4),
          retention: { retainAtLeast: 1, retainNewerThan: 1 },
          storm: { ...CALM, once: { request, does } },
        });
        expect({ request, broken: report.violations }).toEqual({ request, broken: [] });
        expect({ request, beyond: report.gapBeyondLimit }).toEqual({ request, beyond: 0 });
        expect(report.uploads).toBeGreaterThanOrEqual(2);
      }
    },
  );
});

test("a store that falsely claims that its conditional writes are exclusive is detected", async () => {
  const storm = { ...STORMY, atStep: 0.05, failing: 0.02 };
  const rules = new Set<string>();
  for (let seed = 1; seed <= 12 && rules.size === 0; seed++) {
    const conditions = { ...usualConditions(seed, 8, 40), period: 20_000, upload: [500, 2_000] as const };
    const report = await simulate({ ...conditions, exclusive: "claimed", storm });
    for (const { rule } of report.violations) rules.add(rule);
  }
  expect([...rules]).toEqual(expect.arrayContaining([expect.stringMatching(/upload|lease/)]));
});

test("the same seed produces the same report", async () => {
  const conditions = anyConditions(21, 200);
  expect(await simulate(conditions)).toEqual(await simulate(conditions));
});
