import { performance } from "node:perf_hooks";
import { Pace } from "./pace.ts";

/** Background threads that give way to this one; to be stopped when they are done. */
export interface Pacing {
  /** To be given to them. */
  readonly shared: Int32Array;
  stop(): void;
}

const LOOK_MS = 20;
/** The share of the time that this thread may work and still count as idle. */
const IDLE = 0.03;

/** Lets background threads give way while this thread has something to do: whoever writes or reads here waits for processors, too. */
export function paceByThisThread(): Pacing {
  const pace = new Pace();
  // Until it is known.
  pace.setBusy(true);
  let before = performance.eventLoopUtilization();
  let wasBusy = false;
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const isBusy = performance.eventLoopUtilization(now, before).utilization > IDLE;
    before = now;
    // Twice in a row: a single task is over by now.
    pace.setBusy(isBusy && wasBusy);
    wasBusy = isBusy;
  }, LOOK_MS).unref();
  return { shared: pace.shared, stop: () => clearInterval(timer) };
}
