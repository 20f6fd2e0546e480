import { setTimeout as delay } from "node:timers/promises";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 15_000;

/** Waits before the next try after so many failures, each time twice as long up to a limit; ends at once when it is aborted. */
export async function retryPause(failures: number, signal: AbortSignal): Promise<void> {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
  await delay(pause, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
