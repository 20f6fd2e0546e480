/** Bounds of an exponential backoff, in milliseconds. */
export interface Backoff {
  /** The pause before any doubling. */
  readonly firstMs: number;
  readonly maxMs: number;
}

/** Exponential backoff. Returns `firstMs` doubled `failures` times, at most `maxMs`. */
export function backoffMs(failures: number, { firstMs, maxMs }: Backoff): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30));
}
