import { expect, it } from "vitest";
import { backoffMs } from "../../src/concurrency/backoff.ts";

it("doubles the pause with each failure, up to the longest, however many there were", () => {
  const bounds = { firstMs: 200, maxMs: 15_000 };
  const pauses = [0, 1, 2, 6, 7, 100, 10_000].map((failures) => backoffMs(failures, bounds));
  expect(pauses).toEqual([200, 400, 800, 12_800, 15_000, 15_000, 15_000]);
});
