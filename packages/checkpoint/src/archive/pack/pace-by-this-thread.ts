import { performance } from "node:perf_hooks";
import { Pace } from "../pace.ts";

/** Background threads that give way to this one; to be stopped when they are done. */
export interface Pacing {
  /** To be given to them. */
  readonly shared: Int32Array;
  stop(): void;
}

const LOOK_MS = 25;
/** The share of the time that this thread may work and still count as idle: looking, and being told how far the others are, take 1 %. */
const IDLE = 0.02;
/** So many looks decide, by their majority: a single task is over by then. */
const LOOKS = 5;

/**
 * Lets background threads go on at `bytesPerSecond` while this thread has something to do, and as fast as they can otherwise: whoever
 * writes or reads here waits for processors, too. Once `hurry` is aborted, nobody gives way any more.
 */
export function paceByThisThread(bytesPerSecond: number, hurry?: AbortSignal): Pacing {
  const pace = new Pace();
  pace.setRate(bytesPerSecond);
  // Until it is known.
  pace.setBusy(hurry?.aborted !== true);
  let before = performance.eventLoopUtilization();
  let looks: boolean[] = [];
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    looks = [...looks.slice(1 - LOOKS), performance.eventLoopUtilization(now, before).utilization > IDLE];
    before = now;
    const busy = looks.filter(Boolean).length;
    if (hurry?.aborted === true) pace.setBusy(false);
    else if (busy > LOOKS / 2) pace.setBusy(true);
    else if (looks.length - busy > LOOKS / 2) pace.setBusy(false);
  }, LOOK_MS).unref();
  return { shared: pace.shared, stop: () => clearInterval(timer) };
}
