import type { Clock } from "./timer.ts";

export interface RepeatedWork {
  /** Aborts a run in progress and waits for it to end. May be called twice. */
  stop(): Promise<void>;
}

/**
 * Runs `work` after `firstDelay`, and again after each delay that it returns (ms) or, after an error, `retryDelay`.
 * Errors go to `onError` unless the work was stopped.
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

/** Runs `work` again whether it succeeds or fails. The signal that it receives is aborted when the work is stopped. */
export function repeatEvery(
  clock: Clock,
  everyMs: number,
  work: (signal: AbortSignal) => Promise<void>,
  onError: (error: unknown) => void,
): RepeatedWork {
  const run = async (signal: AbortSignal): Promise<number> => {
    await work(signal);
    return everyMs;
  };
  return repeatWork(clock, { firstDelay: everyMs, retryDelay: () => everyMs }, run, onError);
}

/** Returns 0.9 to 1.1 times `ms`, to spread the runs of nodes that began together. `random` is like Math.random. */
export function jittered(ms: number, random: () => number): number {
  return ms * (0.9 + 0.2 * random());
}

const MIN_CLEANUP_PAUSE_MS = 1_000;
const MAX_CLEANUP_PAUSE_MS = 3_600_000;
/** The number is high enough that the log and its backup do not grow much longer than necessary. */
const CLEANUPS_PER_KEEP = 20;

/** Returns the pause between clean-ups that remove what is older than `keep`: an hour, or a twentieth of `keep` (ms). */
export function cleanupPause(keep: number): number {
  return Math.min(MAX_CLEANUP_PAUSE_MS, Math.max(MIN_CLEANUP_PAUSE_MS, keep / CLEANUPS_PER_KEEP));
}
