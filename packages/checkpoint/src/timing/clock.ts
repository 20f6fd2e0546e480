/** A clock with timers, injected so that tests can control the time. */
export interface Clock {
  /** Returns the time in milliseconds since 1970. */
  now(): number;
  /** Resolves to true after `ms`, or to false as soon as `signal` is aborted. `ms` may exceed the limit of a timer. */
  wait(ms: number, signal?: AbortSignal): Promise<boolean>;
}

/** The maximum delay of setTimeout. A longer timer would fire immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The machine's clock and timers. Waiting keeps the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  async wait(ms, signal) {
    let left = ms;
    for (; left > MAX_TIMER_MS; left -= MAX_TIMER_MS) {
      if (!(await timer(MAX_TIMER_MS, signal))) return false;
    }
    return timer(left, signal);
  },
};

function timer(ms: number, signal: AbortSignal | undefined): Promise<boolean> {
  if (signal?.aborted === true) return Promise.resolve(false);
  return new Promise((resolve) => {
    const onAbort = (): void => {
      clearTimeout(handle);
      resolve(false);
    };
    const handle = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve(true);
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
