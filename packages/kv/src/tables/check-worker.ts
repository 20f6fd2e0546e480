import { parentPort, workerData } from "node:worker_threads";
import { type CheckReport, checkTables, restAfter, type ThreadCheckOrder } from "./check-live-tables.ts";
import { checkTableAtOnce } from "./check-table.ts";
import { sendError, yieldToOtherThreads } from "../concurrency/worker-thread.ts";

const NEVER_CHANGED = new Int32Array(new SharedArrayBuffer(4));

/** Lets nothing else run on this thread meanwhile, which has nothing else to do. */
async function rest(busyMs: number): Promise<void> {
  Atomics.wait(NEVER_CHANGED, 0, 0, restAfter(busyMs));
}

if (parentPort !== null) {
  const port = parentPort;
  const order: ThreadCheckOrder = workerData;
  const report = (one: CheckReport): void => port.postMessage(one, []);
  if (!order.isUrgent) yieldToOtherThreads();
  try {
    await checkTables(order, async (path) => {
      let checked = 0;
      await checkTableAtOnce(path, async (busyMs, bytes) => {
        checked += bytes;
        if (!order.isUrgent) await rest(busyMs);
      });
      report({ checked });
    });
    report({ isDone: true });
  } catch (error) {
    report({ failed: sendError(error) });
  }
}
