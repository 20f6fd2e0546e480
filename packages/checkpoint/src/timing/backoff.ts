/** The pause after the first failure, and the longest, both in milliseconds. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The maximum number of doublings: enough to pass any limit; more would overflow. */
const MAX_DOUBLINGS = 30;

/**
 * Returns the wait before the next attempt (ms), by exponential backoff. Doubles with each of the `failures` after the first, which is 0.
 * `random`, at least 0 and below 1, subtracts up to half of it, so that clients do not return at the same moment; without it, the full delay is used.
 */
export function backoffMs(failures: number, { firstMs, maxMs }: Backoff, random = 1): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures, MAX_DOUBLINGS)) * (0.5 + random / 2);
}
