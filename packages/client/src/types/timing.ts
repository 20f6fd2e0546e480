/** The longest time for which one timer of the system can run. A longer one would run out at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Cancels a timer. May be called after the timer has run out, and again. */
export type CancelTimer = () => void;

/** Runs `action` after `ms`, however long that is. With `background`, the timer does not keep the process alive. */
export function startTimer(
  ms: number,
  action: () => void,
  options: { readonly background?: boolean } = {},
): CancelTimer {
  let timer: { unref?: () => void } | number;
  const start = (left: number): void => {
    const rest = left - MAX_TIMER_MS;
    timer = setTimeout(() => (rest > 0 ? start(rest) : action()), Math.min(left, MAX_TIMER_MS));
    if (options.background === true && typeof timer === "object") timer.unref?.();
  };
  start(ms);
  return () => clearTimeout(timer as number);
}

/** Resolves to true after `ms`, which may be of any length, or to false as soon as `signal` is aborted. */
export function wait(
  ms: number,
  signal?: AbortSignal,
  options: { readonly background?: boolean } = {},
): Promise<boolean> {
  if (signal?.aborted === true) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (isOver: boolean): void => {
      cancel();
      signal?.removeEventListener("abort", onAbort);
      resolve(isOver);
    };
    const onAbort = (): void => end(false);
    const cancel = startTimer(ms, () => end(true), options);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Returns a signal that aborts after `ms`, and does not keep the process running. In contrast to `AbortSignal.timeout`,
 * it also does so if only `AbortSignal.any` refers to it: Node 20 collects such a signal, and then it never aborts.
 */
export function timeoutSignal(ms: number): AbortSignal {
  const controller = new AbortController();
  const end = (): void => controller.abort(new DOMException("The time limit was exceeded.", "TimeoutError"));
  startTimer(ms, end, { background: true });
  return controller.signal;
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
