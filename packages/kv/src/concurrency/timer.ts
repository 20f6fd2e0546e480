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
  let timer: NodeJS.Timeout;
  const start = (left: number): void => {
    const rest = left - MAX_TIMER_MS;
    timer = setTimeout(() => (rest > 0 ? start(rest) : action()), Math.min(left, MAX_TIMER_MS));
    if (options.background === true) timer.unref();
  };
  start(ms);
  return () => clearTimeout(timer);
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
