import { resolvable } from "@cairn/kv";
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
