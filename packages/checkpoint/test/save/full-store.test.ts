import { CairnError } from "@cairn/kv";
import { expect, test } from "vitest";
import { type CheckpointerOptions, listCheckpoints } from "../../src/index.ts";
import { HOUR, start, types } from "../support/bench.ts";
import { takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

/**
 * Returns a checkpointer with a store that contains three checkpoints, at intervals of an hour. There is space for
 * another one only if there are at most `fits` others.
 */
async function fullStore(options: Partial<CheckpointerOptions>, fits = 2) {
  /** Whether each upload since the store was filled had enough space. */
  const uploads: boolean[] = [];
  let isFilled = false;
  const bench = await start(
    { firstLookAfter: 100 * HOUR, ...options },
    {
      before: async ({ method }) => {
        if (method === "upload" && isFilled) uploads.push((await txIds()).length <= fits);
      },
      fail: ({ method }) =>
        method === "upload" && uploads.at(-1) === false ? new CairnError("STORE_FULL", "Full.") : undefined,
    },
  );
  const { store, source, dir, clock } = bench;
  const other = testSource("node-2");
  const txIds = async (): Promise<number[]> =>
    (await listCheckpoints(store)).checkpoints.map(({ txId }) => txId);
  for (const txId of [1, 2, 3]) {
    await takeAt(txId, store, other, dir);
    clock.advance(HOUR);
  }
  source.txId = 4;
  isFilled = true;
  return { ...bench, uploads, txIds };
}

test.each([
  ["only the newest checkpoint", { retainAtLeast: 1 }, [4]],
  ["only checkpoints of the last two hours", { retainNewerThan: 2 * HOUR }, [4, 3]],
])("if the policy keeps %s, a round in a full store removes the others first", async (_, policy, left) => {
  const { checkpointer, txIds, events, uploads } = await fullStore({ retentionPolicy: policy });
  expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "taken" });
  expect(uploads).toEqual([false, true]);
  expect(types(events)).toEqual(["begun", "sweep-begun", "swept", "taken", "sweep-begun", "swept"]);
  expect(await txIds()).toEqual(left);
  expect(checkpointer.status().lastFailure).toBeNull();
});

test("a round in a full store from which nothing may be removed fails without another upload", async () => {
  const { checkpointer, txIds, events, uploads, clock } = await fullStore({});
  await expect(checkpointer.checkpointNow().done).rejects.toMatchObject({ code: "STORE_FULL" });
  expect(uploads).toEqual([false]);
  expect(types(events)).toEqual(["begun", "sweep-begun", "swept", "failed"]);
  expect(await txIds()).toEqual([3, 2, 1]);
  // The look itself has succeeded.
  const { last, lastCheckAt } = checkpointer.status();
  expect([last?.txId, lastCheckAt]).toEqual([3, clock.now()]);
});

test("a store that is full even after a sweep keeps its newest checkpoint, and is tried only once more", async () => {
  const { checkpointer, txIds, events, uploads } = await fullStore(
    { retentionPolicy: { retainAtLeast: 1 } },
    0,
  );
  await expect(checkpointer.checkpointNow().done).rejects.toMatchObject({ code: "STORE_FULL" });
  expect(uploads).toEqual([false, false]);
  expect(types(events)).toEqual(["begun", "sweep-begun", "swept", "failed"]);
  expect(await txIds()).toEqual([3]);
  await expect(checkpointer.checkpointNow().done).rejects.toMatchObject({ code: "STORE_FULL" });
  expect(uploads).toHaveLength(3);
});
