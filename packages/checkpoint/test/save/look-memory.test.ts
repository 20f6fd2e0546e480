import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { listCheckpoints, markDamaged, startCheckpointer } from "../../src/index.ts";
import type { CheckpointerEvent, CheckpointStore } from "../../src/index.ts";
import { memoryStore } from "../../testing/index.ts";
import { HOUR, start, types } from "../support/bench.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { take } from "@cairn/test-support/stores/rounds";
import { testSource, type TestSource } from "@cairn/test-support/stores/test-source";

/** Saves a checkpoint into `store` while the store's clock is `ahead` ms fast. */
async function saveAhead(store: CheckpointStore, source: TestSource, ahead = 0): Promise<void> {
  const elsewhere = { ...store, now: async () => (await store.now()) + ahead };
  expect(await take(elsewhere, source, await temporaryDirectory())).toMatchObject({ outcome: "taken" });
}

function warnings(events: readonly CheckpointerEvent[]): string[] {
  return events.flatMap((event) => (event.type === "warning" ? [event.about] : []));
}

test("a checkpoint from the future delays the cluster for one period at most, and is reported once", async () => {
  const { checkpointer, clock, store, source, events, look } = await start();
  await saveAhead(store, testSource("node-2"), 1000 * HOUR);
  source.txId = 5;
  await look();
  expect(source.captures).toBe(0);
  expect(checkpointer.status().nextCheckAt).toBe(clock.now() + HOUR);
  await look();
  expect(source.captures).toBe(1);
  source.txId = 6;
  await look();
  const { checkpoints } = await listCheckpoints(store);
  expect(checkpoints.map(({ txId }) => txId)).toEqual([6, 5, 1]);
  expect(warnings(events)).toEqual(["future-checkpoint"]);
  expect(checkpointer.status().warnings).toMatchObject([
    { about: "future-checkpoint", message: expect.stringMatching(/taken 3[56]\d{5} s after/) },
  ]);
});

test("a warning lasts while looks find its cause, and ends four periods after the last one that did", async () => {
  const { checkpointer, clock, store, source, events, look } = await start();
  const other = testSource("node-2");
  await saveAhead(store, other, 1000 * HOUR);
  source.txId = 5;
  await look();
  const began = clock.now();
  await look();
  const last = clock.now();
  expect(source.captures).toBe(1);
  while (clock.now() < last + 4 * HOUR) {
    const lasting = checkpointer.status().warnings.map(({ about, at }) => [about, at]);
    expect(lasting).toEqual([["future-checkpoint", began]]);
    await look();
  }
  expect(checkpointer.status().warnings).toEqual([]);
  expect(warnings(events)).toEqual(["future-checkpoint"]);

  // If the cause returns, it is reported again.
  other.txId = 9;
  await saveAhead(store, other, 1000 * HOUR);
  await look();
  expect(warnings(events)).toEqual(["future-checkpoint", "future-checkpoint"]);
});

test(
  "two processes with the same node id and the same store keep saving, and harm no checkpoint",
  { tags: "rest/slow" },
  async () => {
    const store = memoryStore();
    const told: CheckpointerEvent[][] = [[], []];
    const options = {
      store,
      approxFrequency: 100,
      keepDirBetweenCheckpoints: true,
      keepDirOnClose: false,
      checkpointOnClose: false,
      compression: "none",
    } as const;
    const twins = await Promise.all(
      told.map(async (events) => {
        const source = testSource();
        Object.defineProperty(source, "txId", { get: () => 1 + Math.floor(Date.now() / 5) });
        const checkpointDir = join(await temporaryDirectory(), "capture");
        const onEvent = (event: CheckpointerEvent): void => void events.push(event);
        return startCheckpointer({ source, onEvent, options: { ...options, checkpointDir } });
      }),
    );
    onTestFinished(async () => void (await Promise.all(twins.map((one) => one.stop()))));
    await vi.waitFor(
      () => {
        for (const events of told)
          expect(types(events).filter((type) => type === "taken").length).toBeGreaterThan(2);
      },
      { timeout: 30_000 },
    );
    expect(told.flat().filter(({ type }) => type === "failed" || type === "sweep-failed")).toEqual([]);
    expect((await listCheckpoints(store)).skipped).toEqual([]);
  },
);

test("if another node has found the newest checkpoint damaged, it is replaced once, even if nothing was written", async () => {
  const { store, source, look, checkpointer } = await start();
  await look();
  const name = checkpointer.status().last?.name ?? "";
  await look();
  expect(source.captures).toBe(1);
  await markDamaged(store, [name], "node-2");
  await look();
  await look();
  expect(source.captures).toBe(2);
  expect(checkpointer.status().last?.name).not.toBe(name);
});

test("once a look finds no checkpoint any more, the status no longer shows the last one", async () => {
  const { store, clock, look, checkpointer } = await start();
  await look();
  const name = checkpointer.status().last?.name ?? "";
  await store.remove(`${name}.json`);
  clock.advance((checkpointer.status().nextCheckAt ?? 0) - clock.now() - 1_000);
  const expiresAt = new Date(clock.now() + 60_000).toISOString();
  const lease = { owner: "node-2", nonce: "uploading", progress: { bytes: 0 }, expiresAt };
  await store.create("in-progress-log-a.json", JSON.stringify(lease));
  await look();
  expect(checkpointer.status()).toMatchObject({ last: null, skipped: { reason: "leased" } });
});

test("a checkpoint that this node finds damaged is replaced without waiting for the next look", async () => {
  const { store, source, look, checkpointer, events } = await start();
  await look();
  await markDamaged(store, [checkpointer.status().last?.name ?? ""], "node-1");
  checkpointer.lookNow();
  await vi.waitFor(() => expect(types(events).filter((type) => type === "taken")).toHaveLength(2));
  expect(source.captures).toBe(2);
  await vi.waitFor(() => expect(checkpointer.status().nextCheckAt).not.toBeNull());
  // The schedule goes on as after any other look.
  source.txId += 1;
  await look();
  expect(source.captures).toBe(3);
});

test("a checkpoint that the source knows to be damaged does not count as the newest, so the next round saves", async () => {
  const { store, source, look, checkpointer } = await start();
  await look();
  const name = checkpointer.status().last?.name ?? "";
  source.isDamaged = (one) => one === name;
  await look();
  await look();
  expect(source.captures).toBe(2);
  expect((await listCheckpoints(store)).checkpoints.map(({ txId }) => txId)).toEqual([1, 1]);
});
