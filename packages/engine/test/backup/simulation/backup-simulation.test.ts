import { describe, expect, it } from "vitest";
import { anyConditions, STORMY, usualConditions } from "./conditions.ts";
import { simulateBackup } from "./simulate-backup.ts";

/** The number of seeds. `pnpm soak backup` runs more. */
const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 50);
const FEW_SEEDS = 5;
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);

describe.each<[number, string[]]>([
  [FEW_SEEDS, []],
  [SEEDS, ["rest/slow"]],
])("with %i seeds", (seeds, tags) => {
  it(
    "no covered position is ever lost, whatever happens to the nodes",
    { tags, timeout: 180_000 + seeds * 5_000 },
    async () => {
      let [messages, merged] = [0, 0];
      for (let seed = FIRST; seed < FIRST + seeds; seed += 1) {
        const report = await simulateBackup(anyConditions(seed, 250));
        expect({ seed, broken: report.violations }).toEqual({ seed, broken: [] });
        messages += report.covered;
        merged += report.againPerPeriod;
      }
      // Segments were written, and rewritten.
      expect(messages).toBeGreaterThan(seeds * 20);
      expect(merged).toBeGreaterThan(0);
    },
  );
});

describe("a cluster without faults", () => {
  describe.each<[number, string[]]>([
    [1, []],
    [5, []],
    [20, ["rest/slow"]],
  ])("of %i nodes", (nodes, tags) => {
    it(
      "writes about one segment a period, and every message is in one within 1.2 periods",
      { tags },
      async () => {
        const report = await simulateBackup(usualConditions(3, nodes, 120));
        expect(report.violations).toEqual([]);
        expect(report.messages - report.covered).toBeLessThan(40);
        expect(report.writtenPerPeriod).toBeGreaterThan(0.9);
        expect(report.writtenPerPeriod).toBeLessThan(1.15);
        expect(report.longest).toBeLessThan(1.2);
        // The clocks of nodes differ by up to a period here. After three periods, a node reports `log-backup-behind`.
        expect(report.longestReported).toBeLessThan(2.3);
        expect(report.segments).toBeLessThan(70);
        // A reader reads the pointer at each look and each segment once, and seldom lists the store.
        const { read, open, list } = report.perReader;
        expect(read).toBeLessThanOrEqual(1);
        expect(open).toBeLessThan(report.writtenPerPeriod + 0.1);
        expect(list).toBeLessThan(0.1);
      },
    );
  });

  it(
    "writes a segment as soon as it is full, and not once for each node",
    { tags: "rest/slow" },
    async () => {
      const conditions = { ...usualConditions(4, 10, 2), messagesPerPeriod: 60, messageBytes: 1_000_000 };
      const report = await simulateBackup(conditions);
      expect(report.violations).toEqual([]);
      // 60 MB per period fills about 7 segments of 8 MiB.
      expect(report.writtenPerPeriod).toBeGreaterThan(5);
      expect(report.writtenPerPeriod).toBeLessThan(16);
      expect(report.longest).toBeLessThan(0.6);
    },
  );
});

it(
  "while a node uploads slowly, no other node uploads the same messages",
  { tags: "rest/slow" },
  async () => {
    const { every } = usualConditions(6, 10, 60);
    const report = await simulateBackup({ ...usualConditions(6, 10, 60), upload: [every / 4, every / 2] });
    expect(report.violations).toEqual([]);
    expect(report.writtenPerPeriod).toBeGreaterThan(0.5);
    expect(report.againPerPeriod).toBe(0);
  },
);

it("few messages are written twice despite many faults", { tags: "rest/slow" }, async () => {
  const report = await simulateBackup({ ...usualConditions(5, 5, 200), storm: STORMY });
  expect(report.violations).toEqual([]);
  expect(report.bytesAgain).toBeLessThan(3);
});

it("the same seed produces the same report", async () => {
  const conditions = anyConditions(12, 200);
  expect(await simulateBackup(conditions)).toEqual(await simulateBackup(conditions));
});
