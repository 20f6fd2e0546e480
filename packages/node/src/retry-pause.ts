import { systemClock } from "@cairn/checkpoint";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 15_000;

/** Waits before the next try after so many failures, each time twice as long up to a limit; ends at once when it is aborted. */
export async function retryPause(failures: number, signal: AbortSignal): Promise<void> {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
  await systemClock.wait(pause, signal);
}
