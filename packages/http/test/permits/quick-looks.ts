import { systemClock, resolvable } from "@cairn/kv";
import { expect, onTestFinished, vi } from "vitest";

const QUICK_MS = 10;

/** Looks of servers at their files. */
export interface QuickLooks {
  /** Changes files while no server looks at them, as if all of it happened between two looks. */
  between(change: () => Promise<void>): Promise<void>;
}

/**
 * Until the test ends, servers look at their files every few milliseconds instead of once per second. A server that
 * looks so often would see files that are half written, so a test changes them with {@link QuickLooks.between}.
 */
export function quickLooks(): QuickLooks {
  const { wait } = systemClock;
  /** The signals of those that look at the moment. Each has one of its own. */
  const looking = new Set<AbortSignal | undefined>();
  let changed = Promise.resolve();
  const waits = vi.spyOn(systemClock, "wait").mockImplementation(async (ms, signal) => {
    looking.delete(signal);
    const isOver = await wait(Math.min(ms, QUICK_MS), signal);
    await changed;
    if (!isOver || signal?.aborted === true) return false;
    looking.add(signal);
    return true;
  });
  onTestFinished(() => waits.mockRestore());
  return {
    async between(change) {
      const { promise, resolve } = resolvable();
      changed = promise;
      try {
        await vi.waitFor(() => expect(looking.size).toBe(0), { interval: 1 });
        await change();
      } finally {
        resolve();
      }
    },
  };
}
