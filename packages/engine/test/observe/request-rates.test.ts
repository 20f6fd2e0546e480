import { expect, test } from "vitest";
import { RequestRates } from "../../src/observe/resource-use.ts";

test("requests are counted over the last minute, with durations that are at most a fifth too large", () => {
  let now = 5_000;
  const rates = new RequestRates(() => now);
  const nothing = { perSecond: 0, p50Ms: null, p99Ms: null };
  expect(rates.current()).toEqual(nothing);
  for (let n = 0; n < 98; n += 1) rates.note(1);
  rates.note(40);
  rates.note(50);
  now += 10_000;
  const { perSecond, p50Ms, p99Ms } = rates.current();
  expect(perSecond).toBe(10);
  expect(p50Ms).toBeGreaterThanOrEqual(1);
  expect(p50Ms).toBeLessThanOrEqual(1.2);
  expect(p99Ms).toBeGreaterThanOrEqual(40);
  expect(p99Ms).toBeLessThanOrEqual(48);
  now += 49_000;
  rates.note(0);
  expect(rates.current().perSecond).toBe(1.712);
  now += 1_000;
  expect(rates.current()).toMatchObject({ perSecond: 0.017, p50Ms: 0.02 });
  now += 3_600_000;
  expect(rates.current()).toEqual(nothing);
  rates.note(1e9);
  expect(rates.current().p99Ms).toBeGreaterThan(30_000);
});
