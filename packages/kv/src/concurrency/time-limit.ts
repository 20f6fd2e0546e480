import { type CancelTimer, startTimer } from "./timer.ts";

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

/** Returns the result of `work`, or {@link TIMED_OUT} after `ms`. After a timeout, the result or error of `work` is discarded. */
export async function withTimeout<T>(work: Promise<T>, ms: number): Promise<T | typeof TIMED_OUT> {
  let cancel: CancelTimer | undefined;
  const timeout = new Promise<typeof TIMED_OUT>((resolve) => {
    cancel = startTimer(ms, () => resolve(TIMED_OUT));
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    cancel?.();
  }
}
