import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { TIMED_OUT, withTimeout } from "../../src/concurrency/timer.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("a time limit returns a result, or throws an error, that arrives in time, and leaves no timer behind", async () => {
  expect(await withTimeout(Promise.resolve(7), 1_000)).toBe(7);
  await expect(withTimeout(Promise.reject(new Error("no")), 1_000)).rejects.toThrow("no");
  expect(vi.getTimerCount()).toBe(0);
});

it("a time limit returns TIMED_OUT once the time has passed, and ignores a later error", async () => {
  let fail: ((error: Error) => void) | undefined;
  const found = withTimeout(new Promise((_resolve, reject) => (fail = reject)), 1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await found).toBe(TIMED_OUT);
  fail?.(new Error("too late to matter"));
  await vi.advanceTimersByTimeAsync(1);
});

it("a time limit returns what it was given instead, even if that is undefined", async () => {
  const never = new Promise<number>(() => undefined);
  const found = Promise.all([withTimeout(never, 1, null), withTimeout(never, 1, undefined)]);
  await vi.advanceTimersByTimeAsync(1);
  expect(await found).toEqual([null, undefined]);
});
