import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { inTime, LATE } from "../../src/concurrency/in-time.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("gives an answer, or the error, that comes in time, and leaves no timer behind", async () => {
  expect(await inTime(Promise.resolve(7), 1_000)).toBe(7);
  await expect(inTime(Promise.reject(new Error("no")), 1_000)).rejects.toThrow("no");
  expect(vi.getTimerCount()).toBe(0);
});

it("says that an answer is late, and takes no notice of an error after that", async () => {
  let fail: ((error: Error) => void) | undefined;
  const found = inTime(new Promise((_resolve, reject) => (fail = reject)), 1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await found).toBe(LATE);
  fail?.(new Error("too late to matter"));
  await vi.advanceTimersByTimeAsync(1);
});
