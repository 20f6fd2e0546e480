import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { timeoutSignal } from "@cairn/client/protocol";
import { expect, it } from "vitest";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

it("a time limit that only a combination of signals refers to passes after garbage was collected", async () => {
  const stop = new AbortController();
  const combined = AbortSignal.any([AbortSignal.any([timeoutSignal(100), stop.signal]), stop.signal]);
  const aborted = once(combined, "abort");
  // What is weakly referenced outlives the current job.
  await nextTurn();
  collectGarbage();
  await aborted;
  expect(combined.reason).toMatchObject({ name: "TimeoutError" });
});
