import { parentPort, workerData } from "node:worker_threads";
import { type CheckOrder, type CheckReport, checkTables, pauseMsAfter } from "./check-named-tables.ts";
import { checkTableSync } from "./check-table.ts";
import { sendError, lowerThreadPriority } from "../concurrency/worker-thread.ts";

const NEVER_CHANGED = new Int32Array(new SharedArrayBuffer(4));

if (parentPort !== null) {
  const port = parentPort;
  const order: CheckOrder = workerData;
  const report = (one: CheckReport): void => port.postMessage(one, []);
  if (!order.isUrgent) lowerThreadPriority();
  try {
    await checkTables(order, async (path) => {
      let checked = 0;
      await checkTableSync(path, async (busyMs, bytes) => {
        checked += bytes;
        // This thread may be blocked, because it has nothing else to do.
        if (!order.isUrgent) Atomics.wait(NEVER_CHANGED, 0, 0, pauseMsAfter(busyMs));
      });
      report({ checked });
    });
    report({ isDone: true });
  } catch (error) {
    report({ failed: sendError(error) });
  }
}
