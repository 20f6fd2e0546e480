import type { Clock } from "@cairn/kv";

/** A clock that advances only when a test advances it. */
export interface ManualClock extends Clock {
  /** Advances the clock by `ms`, and resolves every wait that ends by then. */
  advance(ms: number): void;
  /** Returns the times for which callers are waiting, earliest first. */
  waits(): number[];
}

/** Returns a clock at `start` (milliseconds since 1970). */
export function manualClock(start = Date.parse("2026-11-20T06:00:00.000Z")): ManualClock {
  const timers = new Set<{ readonly at: number; readonly fire: (elapsed: boolean) => void }>();
  let now = start;
  return {
    now: () => now,
    wait(ms, signal) {
      if (signal?.aborted === true) return Promise.resolve(false);
      return new Promise((resolve) => {
        const timer = {
          at: now + ms,
          fire: (elapsed: boolean): void => {
            timers.delete(timer);
            signal?.removeEventListener("abort", onAbort);
            resolve(elapsed);
          },
        };
        const onAbort = (): void => timer.fire(false);
        timers.add(timer);
        signal?.addEventListener("abort", onAbort);
      });
    },
    advance(ms) {
      now += ms;
      for (const timer of [...timers].toSorted((a, b) => a.at - b.at)) {
        if (timer.at <= now) timer.fire(true);
      }
    },
    waits: () => [...timers].map(({ at }) => at).toSorted((a, b) => a - b),
  };
}
