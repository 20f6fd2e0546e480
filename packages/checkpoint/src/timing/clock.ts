/** Time on this machine, injected so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** True once `ms` have passed, false as soon as `signal` is aborted. Any length, also beyond what one timer can hold. */
  wait(ms: number, signal?: AbortSignal): Promise<boolean>;
}

/** The longest that setTimeout can hold; longer ones would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The machine's own clock and timers. Waiting keeps the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  async wait(ms, signal) {
    let left = ms;
    for (; left > LONGEST_TIMER; left -= LONGEST_TIMER) {
      if (!(await timer(LONGEST_TIMER, signal))) return false;
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
