/** The pause after the first failure and the maximum pause, both in milliseconds. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The maximum number of doublings. It suffices to reach any maximum delay. */
const MAX_DOUBLINGS = 30;

/**
 * Returns the delay before the next attempt (ms), by exponential backoff: `failures` is 0 after the first failure, and
 * each additional failure doubles the delay. `random`, which is at least 0 and below 1, shortens the delay by up to
 * half, so that clients do not return at the same moment. By default, the full delay is used.
 */
export function backoffMs(failures: number, { firstMs, maxMs }: Backoff, random = 1): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures, MAX_DOUBLINGS)) * (0.5 + random / 2);
}
