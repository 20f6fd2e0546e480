import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { listCheckpoints, markDamaged, startCheckpointer } from "../../src/index.ts";
import type { Checkpointer, CheckpointerEvent, CheckpointStore } from "../../src/index.ts";
import type { Clock } from "@cairn/kv";
import { unreachable, memoryStore } from "../../testing/index.ts";
import { HOUR, start, types } from "../support/bench.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { take } from "@cairn/test-support/stores/rounds";
import { testSource, type TestSource } from "@cairn/test-support/stores/test-source";

const isManifest = (name: string): boolean => /^checkpoint-.*\.json$/.test(name);

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

test("a second process with this node's id is recognised by its checkpoint, and reported once", async () => {
  const { checkpointer, clock, store, source, events, look } = await start();
  await look();
  clock.advance(HOUR / 2);
  const twin = testSource(source.node);
  twin.txId = 7;
  await saveAhead(store, twin);
  await look();
  source.txId = 8;
  await look();
  expect(warnings(events)).toEqual(["same-node-id"]);
  expect(checkpointer.status().warnings).toMatchObject([
    { message: expect.stringMatching(/node-1: it saved checkpoint-7-/), hint: expect.stringContaining("id") },
  ]);
  expect((await listCheckpoints(store)).checkpoints.map(({ txId }) => txId)).toEqual([8, 7, 1]);
});

test("a warning lasts while looks find its cause, and ends four periods after the last one that did", async () => {
  const { checkpointer, clock, store, source, events, look } = await start();
  await look();
  const foundAt: number[] = [];
  const twin = testSource(source.node);
  const other = testSource("node-9");
  other.logId = "log-b";
  for (const txId of [7, 8]) {
    clock.advance(HOUR / 2);
    [twin.txId, other.txId] = [txId, txId];
    await saveAhead(store, other);
    await saveAhead(store, twin);
    await look();
    foundAt.push(clock.now());
    for (let looks = 0; looks < 2; looks += 1) await look();
  }
  const [began = 0, last = 0] = foundAt;
  while (clock.now() < last + 4 * HOUR) {
    const lasting = checkpointer.status().warnings.map(({ about, at }) => [about, at]);
    expect(lasting).toEqual([
      ["same-node-id", began],
      ["other-log", began],
    ]);
    await look();
  }
  expect(checkpointer.status().warnings).toEqual([]);
  expect(warnings(events)).toEqual(["same-node-id", "other-log"]);

  // If the cause returns, it is reported again.
  clock.advance(HOUR / 2);
  twin.txId = 9;
  await saveAhead(store, twin);
  await look();
  expect(warnings(events)).toEqual(["same-node-id", "other-log", "same-node-id"]);
});

test("neither earlier processes of the node nor its own checkpoints count as a second process", async () => {
  const { clock, store, source, events, look } = await start();
  await look();
  source.txId = 2;
  await look();
  const record = {
    owner: source.node,
    nonce: "of an earlier life",
    progress: { bytes: 0 },
    expiresAt: new Date(clock.now() + 60_000).toISOString(),
  };
  const again: CheckpointerEvent[] = [];
  const restarted = restart(store, source, clock, await temporaryDirectory(), again);
  await store.create("in-progress-log-a.json", JSON.stringify(record));
  source.txId = 3;
  expect(await restarted.checkpointNow().done).toMatchObject({
    reason: "leased",
    lease: { owner: source.node },
  });
  await store.remove("in-progress-log-a.json");
  await vi.waitFor(() => expect(restarted.status().running).toBeNull());
  expect(await restarted.checkpointNow().done).toMatchObject({ outcome: "taken" });
  expect([...warnings(events), ...warnings(again)]).toEqual([]);
});

test("a checkpoint from before the start is not that of a second process, whatever the clock was then or is later", async () => {
  const { clock, store, source, events, look } = await start();
  const before = testSource(source.node);
  before.logId = "continued";
  await saveAhead(store, before, HOUR / 2);
  await saveAhead(store, testSource(source.node), HOUR / 2);
  await look();
  clock.advance(HOUR);
  await look();
  source.txId = 2;
  await look();
  expect(warnings(events)).toEqual(["future-checkpoint"]);
});

test("a checkpoint of this process does not count as that of a second one if the store's responses to it were lost", async () => {
  let condition: "well" | "away" | "well again" = "well";
  const { clock, checkpointer, source, events, store } = await start(
    { firstLookAfter: 10 * HOUR },
    {
      failAfter: ({ method, name }) => {
        if (condition === "well" && method === "create" && isManifest(name)) condition = "away";
        return condition === "away" ? unreachable() : undefined;
      },
      fail: ({ method }) => (condition === "away" && method === "remove" ? unreachable() : undefined),
    },
  );
  clock.advance(10_000);
  const round = checkpointer.checkpointNow().done.catch((error: unknown) => error);
  // Publishing is retried after pauses.
  await vi.waitFor(() => {
    clock.advance(100);
    expect(types(events)).toContain("failed");
  });
  expect(await round).toMatchObject({ code: "STORE_UNREACHABLE" });
  condition = "well again";
  const [stored] = (await listCheckpoints(store)).checkpoints;
  expect(stored).toMatchObject({ txId: 1, node: source.node });
  clock.advance(HOUR / 2);
  expect(await checkpointer.checkpointNow().done).toMatchObject({ reason: "unchanged" });
  expect(warnings(events)).toEqual([]);

  // A second process is still recognised.
  const twin = testSource(source.node);
  twin.txId = 7;
  await saveAhead(store, twin);
  await checkpointer.checkpointNow().done;
  expect(warnings(events)).toEqual(["same-node-id"]);
});

test(
  "two processes with the same node id and the same store keep saving, and both report the problem",
  { tags: "rest/slow" },
  async () => {
    const store = memoryStore();
    const told: CheckpointerEvent[][] = [[], []];
    const twins = await Promise.all(
      told.map(async (events) => {
        const source = testSource();
        Object.defineProperty(source, "txId", { get: () => 1 + Math.floor(Date.now() / 5) });
        const dir = await temporaryDirectory();
        return startCheckpointer({
          source,
          onEvent: (event) => void events.push(event),
          options: { ...OPTIONS, store, approxFrequency: 100, checkpointDir: join(dir, "capture") },
        });
      }),
    );
    onTestFinished(async () => void (await Promise.all(twins.map((one) => one.stop()))));
    await vi.waitFor(
      () => {
        for (const events of told) {
          // A warning ends and begins again if the other process happens not to save for a while.
          expect(new Set(warnings(events))).toEqual(new Set(["same-node-id"]));
          expect(events.filter(({ type }) => type === "taken").length).toBeGreaterThan(2);
        }
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

const OPTIONS = {
  keepDirBetweenCheckpoints: true,
  keepDirOnClose: false,
  checkpointOnClose: false,
  compression: "none",
} as const;

/** Starts the node's next process, which looks only on request. */
function restart(
  store: CheckpointStore,
  source: TestSource,
  clock: Clock,
  checkpointDir: string,
  events: CheckpointerEvent[],
): Checkpointer {
  const next = startCheckpointer({
    source,
    clock,
    onEvent: (event) => void events.push(event),
    options: { ...OPTIONS, store, approxFrequency: HOUR, firstLookAfter: 10 * HOUR, checkpointDir },
  });
  onTestFinished(() => next.stop());
  return next;
}
