import { type Backoff, backoffMs, systemClock } from "@cairn/checkpoint";

const BACKOFF: Backoff = { firstMs: 200, maxMs: 15_000 };

/** How long to wait before the next try after so many failures (ms): each time twice as long, up to a limit. */
export function retryPauseMs(failures: number): number {
  return backoffMs(failures, BACKOFF);
}

/** Waits as long as {@link retryPauseMs} says; ends at once when it is aborted. */
export async function retryPause(failures: number, signal: AbortSignal): Promise<void> {
  await systemClock.wait(retryPauseMs(failures), signal);
}
