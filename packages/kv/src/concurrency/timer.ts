import { type CancelTimer, startTimer, wait } from "@cairn/client/shared";

export { type CancelTimer, MAX_TIMER_MS, startTimer, wait } from "@cairn/client/shared";

/** A clock with timers, injected so that tests can control the time. */
export interface Clock {
  /** Returns the time in milliseconds since 1970. */
  now(): number;
  /** Resolves to true after `ms`, or to false as soon as `signal` is aborted. `ms` may exceed the limit of a timer. */
  wait(ms: number, signal?: AbortSignal): Promise<boolean>;
}

/** The machine's clock and timers. Waiting keeps the process alive. */
export const systemClock: Clock = { now: () => Date.now(), wait };

/** Returns a number of at least 0 and below 1. */
export function systemRandom(): number {
  return Math.random();
}

/** The pause after the first failure and the maximum pause, both in milliseconds. */
interface Backoff {
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

/** A deadline that all waits of one caller share. */
export class Deadline {
  readonly limitMs: number;
  readonly #endsAt: number;

  constructor(limitMs: number) {
    this.limitMs = limitMs;
    this.#endsAt = performance.now() + limitMs;
  }

  /** The time left, in whole milliseconds; 0 after the deadline. */
  get leftMs(): number {
    return Math.max(0, Math.ceil(this.#endsAt - performance.now()));
  }
}

/** The value that {@link withTimeout} returns when the time is up. */
export const TIMED_OUT = Symbol("timed out");

/** Returns the result of `work`, or `instead` after `ms`. After a timeout, the result or error of `work` is discarded. */
export async function withTimeout<T, U = typeof TIMED_OUT>(
  work: Promise<T>,
  ms: number,
  ...instead: readonly [] | readonly [U]
): Promise<T | U> {
  let cancel: CancelTimer | undefined;
  const timeout = new Promise<U>((resolve) => {
    // A given undefined is a value, too.
    cancel = startTimer(ms, () => resolve((instead.length === 0 ? TIMED_OUT : instead[0]) as U));
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    cancel?.();
  }
}
