import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startTimer, wait } from "../../src/concurrency/timer.ts";

const DAY_MS = 86_400_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

it.each([1, 25, 60, 36_600])("a wait of %i days ends neither early nor late", async (days) => {
  let isOver: boolean | undefined;
  void wait(days * DAY_MS).then((result) => (isOver = result));
  await vi.advanceTimersByTimeAsync(days * DAY_MS - 1);
  expect(isOver).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(isOver).toBe(true);
});

it("a wait ends as soon as its signal is aborted, and leaves no timer behind", async () => {
  const stop = new AbortController();
  const waited = wait(60 * DAY_MS, stop.signal);
  await vi.advanceTimersByTimeAsync(30 * DAY_MS);
  stop.abort();
  expect(await waited).toBe(false);
  expect(await wait(1, stop.signal)).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});

it("a cancelled timer never runs, no matter how much of it has passed", async () => {
  const action = vi.fn<() => void>();
  const cancel = startTimer(60 * DAY_MS, action);
  await vi.advanceTimersByTimeAsync(50 * DAY_MS);
  cancel();
  cancel();
  await vi.advanceTimersByTimeAsync(50 * DAY_MS);
  expect(action).not.toHaveBeenCalled();
});
