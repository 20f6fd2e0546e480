import { setTimeout as delay } from "node:timers/promises";

/** Watching rests so many times as long as it took: it has a fifth of the thread at most, the indexing the rest. */
const FACTOR = 4;
const LONGEST_MS = 200;

/** Leaves the thread to others after something that took `tookMs`. */
export async function restAfter(tookMs: number): Promise<void> {
  const ms = Math.min(LONGEST_MS, tookMs * FACTOR);
  if (ms >= 1) await delay(ms);
}
