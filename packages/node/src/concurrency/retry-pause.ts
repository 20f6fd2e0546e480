import { systemClock } from "@cairn/checkpoint";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 15_000;

/** How long to wait before the next try after so many failures (ms): each time twice as long, up to a limit. */
export function retryPauseMs(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
}

/** Waits as long as {@link retryPauseMs} says; ends at once when it is aborted. */
export async function retryPause(failures: number, signal: AbortSignal): Promise<void> {
  await systemClock.wait(retryPauseMs(failures), signal);
}
