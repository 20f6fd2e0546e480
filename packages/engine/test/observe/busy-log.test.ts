import { CairnError, resolvable } from "@cairn/kv";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RefusedSubmissions } from "../../src/node/node-observation.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Gives the log something that it stores when the result is called. */
function given(refusals: RefusedSubmissions): () => Promise<void> {
  const { promise, resolve } = resolvable();
  const stored = refusals.storing(promise);
  return async () => {
    resolve();
    await stored;
  };
}

test("a log that stores others first is busy, and one that stores nothing for 30 s takes no more", async () => {
  const refusals = new RefusedSubmissions();
  const [first, second] = [given(refusals), given(refusals)];
  vi.advanceTimersByTime(25_000);
  await first();
  vi.advanceTimersByTime(25_000);
  expect(refusals.refused).toBe(null);
  refusals.checkStoring();
  vi.advanceTimersByTime(5_000);
  expect(refusals.refused).toMatchObject({ code: "LOG_UNREACHABLE" });
  expect(() => refusals.checkStoring()).toThrow("not given to it");
  await second();
  expect(refusals.refused).toBe(null);
  refusals.checkStoring();
});

test("a log that stores nothing is reported after 30 s, even if each client waits only briefly", async () => {
  const refusals = new RefusedSubmissions();
  for (let n = 0; n < 10; n += 1) {
    expect(refusals.refused).toBe(null);
    const late = refusals.storing(Promise.reject(new CairnError("LOG_UNREACHABLE", "late", "Try again.")));
    await expect(late).rejects.toThrow("late");
    vi.advanceTimersByTime(3_000);
  }
  expect(refusals.refused).toMatchObject({ code: "LOG_UNREACHABLE" });
  // The next one is given to it, and nothing else shows that the log has recovered.
  refusals.checkStoring();
  await given(refusals)();
  expect(refusals.refused).toBe(null);
  vi.advanceTimersByTime(60_000);
  expect([refusals.refused, refusals.quietMs]).toEqual([null, undefined]);
});
