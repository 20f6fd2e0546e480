import { parentPort, workerData } from "node:worker_threads";
import { type CheckOrder, checkTables, restAfter } from "./check-live-tables.ts";
import { checkTableAtOnce } from "./check-table.ts";
import { sendError, yieldToOtherThreads } from "../concurrency/worker-thread.ts";

const NEVER_CHANGED = new Int32Array(new SharedArrayBuffer(4));

/** Lets nothing else run on this thread meanwhile, which has nothing else to do. */
async function rest(busyMs: number): Promise<void> {
  Atomics.wait(NEVER_CHANGED, 0, 0, restAfter(busyMs));
}

if (parentPort !== null) {
  const port = parentPort;
  const order: CheckOrder = workerData;
  yieldToOtherThreads();
  try {
    await checkTables(order, (path) => checkTableAtOnce(path, rest));
    // All are whole.
    port.postMessage({}, []);
  } catch (error) {
    port.postMessage({ failed: sendError(error) }, []);
  }
}
