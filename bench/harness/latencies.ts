import { setTimeout as delay } from "node:timers/promises";
import type { Figures } from "./figures.ts";

const WARMUP_MS = 1_000;

/**
 * Runs `callers` concurrent callers, each of which calls again when its previous call has ended, for a warm-up and then
 * for `seconds`. Returns the rate of the calls under the name `rate`, and percentiles of their latencies.
 */
export async function timeCalls(
  rate: string,
  { callers, seconds }: { readonly callers: number; readonly seconds: number },
  call: (caller: number) => Promise<unknown>,
): Promise<Figures> {
  const latencies: number[] = [];
  const measureFrom = performance.now() + WARMUP_MS;
  const measureTo = measureFrom + seconds * 1_000;
  const repeat = async (caller: number): Promise<void> => {
    for (let at = performance.now(); at < measureTo;) {
      await call(caller);
      const end = performance.now();
      if (at >= measureFrom && end <= measureTo) latencies.push(end - at);
      at = end;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => repeat(caller)));
  const at = percentiles(latencies);
  const figures = { "p50, ms": at(0.5), "p99, ms": at(0.99), "p99.9, ms": at(0.999) };
  return { [rate]: latencies.length / seconds, ...figures };
}

/** Calls `perSecond` times a second for some time, each call when it is due, and waits for all of them. */
export async function callSteadily(
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number },
  call: (n: number, due: number) => Promise<void>,
): Promise<void> {
  const waiting = new Set<Promise<void>>();
  const begin = performance.now();
  for (let sent = 0; sent < perSecond * seconds; sent += 1) {
    const due = begin + (sent / perSecond) * 1_000;
    // A timer takes a millisecond at least, so late calls do not wait for one.
    const early = due - performance.now();
    if (early > 0) await delay(early);
    const one: Promise<void> = call(sent, due).finally(() => waiting.delete(one));
    waiting.add(one);
  }
  await Promise.all(waiting);
}

/** Returns a function that returns the value below which the given share of the values lies. */
export function percentiles(values: readonly number[]): (share: number) => number {
  const sorted = values.toSorted((a, b) => a - b);
  return (share) => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
}
