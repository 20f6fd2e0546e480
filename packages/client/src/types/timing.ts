const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Runs `action` after `ms`, which may be of any length: a single timer of more than 25 days would run out at once. The
 * timer keeps the process running unless it is one in the `background`. Returns a function that cancels it.
 */
export function runAfter(ms: number, action: () => void, background = false): () => void {
  let timer: { unref?: () => void } | number;
  const start = (left: number): void => {
    const rest = left - MAX_TIMER_MS;
    timer = setTimeout(() => (rest > 0 ? start(rest) : action()), Math.min(left, MAX_TIMER_MS));
    if (background && typeof timer === "object") timer.unref?.();
  };
  start(ms);
  return () => clearTimeout(timer as number);
}

/**
 * Returns a signal that aborts after `ms`, and does not keep the process running. In contrast to `AbortSignal.timeout`,
 * it also does so if only `AbortSignal.any` refers to it: Node 20 collects such a signal, and then it never aborts.
 */
export function timeoutSignal(ms: number): AbortSignal {
  const controller = new AbortController();
  const end = (): void => controller.abort(new DOMException("The time limit was exceeded.", "TimeoutError"));
  runAfter(ms, end, true);
  return controller.signal;
}

/** Resolves after `ms`, or when the signal is aborted. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      cancel();
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const cancel = runAfter(ms, end);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Resolves after what is due, and what has arrived, has been processed. */
export async function nextTurn(): Promise<void> {
  // A timer would not do: in Node, the timers that are due are processed together, before anything that has arrived.
  await new Promise<void>((resolve) => (globalThis.setImmediate ?? setTimeout)(resolve));
}

/** Returns a time from half of `ms` to `ms`, so that clients that failed together do not return together. */
export function spread(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

/** Returns the pause before a request is repeated, by exponential backoff. */
export function retryPauseMs(failures: number): number {
  return spread(Math.min(2_000, 50 * 2 ** Math.min(failures, 10)));
}
