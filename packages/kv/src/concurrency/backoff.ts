/** The pause after the first failure and the maximum pause, both in milliseconds. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The maximum number of doublings. It suffices to reach any maximum delay. */
const MAX_DOUBLINGS = 30;

/**
 * Returns the delay before the next attempt (ms). `failures` is 0 after the first failure, and each further one doubles
 * the delay. `random` (0 to 1) shortens it by up to half, so that clients do not return at the same moment.
 */
export function backoffMs(failures: number, { firstMs, maxMs }: Backoff, random = 1): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures, MAX_DOUBLINGS)) * (0.5 + random / 2);
}
