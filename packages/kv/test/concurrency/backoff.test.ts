import { expect, test } from "vitest";
import { backoffMs } from "../../src/concurrency/timer.ts";

test("the pause doubles with each failure, up to the limit", () => {
  const backoff = { firstMs: 100, maxMs: 5_000 };
  expect([0, 1, 2, 3].map((failures) => backoffMs(failures, backoff))).toEqual([100, 200, 400, 800]);
  expect(backoffMs(6, backoff)).toBe(5_000);
  expect(backoffMs(100_000, backoff)).toBe(5_000);
});

test("jitter shortens the pause by up to half", () => {
  const backoff = { firstMs: 100, maxMs: 5_000 };
  expect(backoffMs(1, backoff, 0)).toBe(100);
  expect(backoffMs(1, backoff, 0.5)).toBe(150);
});
