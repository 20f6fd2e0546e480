import { wait } from "./timer.ts";

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
