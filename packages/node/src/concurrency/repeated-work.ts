import type { Clock } from "@cairn/checkpoint";

/** Work that comes again and again until it is stopped. */
export interface RepeatedWork {
  /** Aborts what runs and waits for its end. Twice is fine. */
  stop(): Promise<void>;
}

/**
 * Runs `work` after `firstDelay`, and again after the time that it answers, in milliseconds. What it throws is told to `onError`
 * unless it was stopped, and `retryDelay` passes before the next try.
 */
export function repeatWork(
  clock: Clock,
  times: { readonly firstDelay: number; readonly retryDelay: (error: unknown) => number },
  work: (signal: AbortSignal) => Promise<number>,
  onError: (error: unknown) => void,
): RepeatedWork {
  const stop = new AbortController();
  const { signal } = stop;
  const running = (async () => {
    let delay = times.firstDelay;
    while (await clock.wait(delay, signal)) {
      try {
        delay = await work(signal);
      } catch (error) {
        if (signal.aborted) return;
        onError(error);
        delay = times.retryDelay(error);
      }
    }
  })();
  return {
    async stop() {
      stop.abort();
      await running;
    },
  };
}
