import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import { expect, onTestFinished, test, vi } from "vitest";
import { listCheckpoints, startCheckpointer } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { unreachable, memoryStore } from "../../testing/index.ts";
import { holdCapture, HOUR, start, types } from "../support/bench.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

test("a checkpointer looks soon after the start, and then about once a period until it is stopped", async () => {
  const { clock, source, checkpointer, look, store } = await start();
  expect(checkpointer.status().nextCheckAt).toBeLessThanOrEqual(clock.now() + 30_000);
  for (let round = 1; round <= 5; round++) {
    await look();
    expect(checkpointer.status().nextCheckAt).toBe(clock.now() + HOUR);
    source.txId += 1;
  }
  expect((await listCheckpoints(store)).checkpoints).toHaveLength(5);
  await checkpointer.stop();
  expect(clock.waits()).toEqual([]);
  clock.advance(10 * HOUR);
  expect(source.captures).toBe(5);
});

test("a program can postpone the first look, and request checkpoints in the meantime", async () => {
  const { clock, checkpointer, events } = await start({ firstLookAfter: 6 * HOUR });
  expect(checkpointer.status().nextCheckAt).toBe(clock.now() + 6 * HOUR);
  clock.advance(5 * HOUR);
  expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "taken" });
  expect(types(events).filter((type) => type === "begun")).toHaveLength(1);
});

test("a checkpointer's status shows the newest checkpoint, the progress of a round, and the time of the next look", async () => {
  const { source, checkpointer, look } = await start();
  let during = checkpointer.status();
  source.beforeCapture = async () => {
    during = checkpointer.status();
  };
  await look();
  expect(during).toMatchObject({ nextCheckAt: null, running: { step: "capturing", bytes: 0 }, last: null });
  expect(checkpointer.status()).toMatchObject({ running: null, last: { txId: 1 }, lastFailure: null });
});

test("another node's checkpoint counts as the newest", async () => {
  const { clock, store, source, checkpointer, look } = await start();
  const other = startCheckpointer({
    source: testSource("node-2"),
    clock,
    random: () => 0,
    options: {
      store,
      approxFrequency: HOUR,
      checkpointDir: join(await temporaryDirectory(), "capture"),
      keepDirBetweenCheckpoints: false,
      keepDirOnClose: false,
      checkpointOnClose: false,
      compression: "none",
    },
  });
  onTestFinished(() => other.stop());
  await other.checkpointNow().done;
  await look();
  expect(source.captures).toBe(0);
  expect(checkpointer.status().last).toEqual(other.status().last);
});

test("a failed round is reported and retried with growing pauses until one succeeds", async () => {
  let fail = true;
  const { clock, checkpointer, look, events } = await start(
    {},
    { fail: () => (fail ? unreachable() : undefined) },
  );
  await look();
  const first = (checkpointer.status().nextCheckAt ?? 0) - clock.now();
  await look();
  const second = (checkpointer.status().nextCheckAt ?? 0) - clock.now();
  expect([first, second]).toEqual([5_000, 10_000]);
  expect(checkpointer.status().lastFailure).toMatchObject({ code: "STORE_UNREACHABLE" });
  fail = false;
  await look();
  expect((checkpointer.status().nextCheckAt ?? 0) - clock.now()).toBe(HOUR);
  expect(types(events)).toEqual([
    "begun",
    "failed",
    "begun",
    "failed",
    "begun",
    "taken",
    "sweep-begun",
    "swept",
  ]);
});

test("a requested round that fails is retried as soon as a scheduled one, and does not postpone the next look", async () => {
  let fail = false;
  const { clock, checkpointer, look } = await start({}, { fail: () => (fail ? unreachable() : undefined) });
  await look();
  const dueIn = (): number => (checkpointer.status().nextCheckAt ?? 0) - clock.now();
  const requestFails = async (): Promise<void> =>
    await expect(checkpointer.checkpointNow().done).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  expect(dueIn()).toBe(HOUR);
  fail = true;
  await requestFails();
  await vi.waitFor(() => expect(dueIn()).toBe(5_000));
  await requestFails();
  expect(dueIn()).toBe(5_000);
  fail = false;
  clock.advance(5_000);
  // The store is reachable again, which is known although nothing is to be saved.
  await vi.waitFor(() => expect(dueIn()).toBe(HOUR - 5_000));
  const { lastCheckAt, lastFailure } = checkpointer.status();
  expect((lastCheckAt ?? 0) - (lastFailure?.at ?? 0)).toBe(5_000);
});

test("an unexpected error does not stop the schedule", async () => {
  const { source, checkpointer, look } = await start();
  source.beforeCapture = async () => {
    throw new RangeError("a bug");
  };
  await look();
  expect(checkpointer.status().lastFailure).toMatchObject({ code: "INTERNAL", message: "a bug" });
  source.beforeCapture = async () => undefined;
  await look();
  expect(checkpointer.status().last).toMatchObject({ txId: 1 });
});

test("a failed sweep is reported, and the checkpoint stays saved", async () => {
  const denied = new CairnError("STORE_DENIED", "Nothing may be listed.");
  const { checkpointer, events, store } = await start(
    { retentionPolicy: { retainAtLeast: 1 } },
    {
      fail: ({ method, name }) => (method === "list" && name.startsWith("reservations") ? denied : undefined),
    },
  );
  expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "taken" });
  expect(types(events)).toEqual(["begun", "taken", "sweep-begun", "sweep-failed"]);
  expect((await listCheckpoints(store)).checkpoints).toHaveLength(1);
});

test("the retention policy is applied after each save", async () => {
  const { source, store, look } = await start({ retentionPolicy: { retainAtLeast: 2 } });
  for (let round = 0; round < 4; round++) {
    source.txId += 1;
    await look();
  }
  await vi.waitFor(async () => expect(await namesIn(store)).toHaveLength(4));
});

test("a request saves immediately even if the newest checkpoint is recent, but not if nothing has changed", async () => {
  const { source, checkpointer } = await start();
  const { begun, done } = checkpointer.checkpointNow();
  await begun;
  expect(checkpointer.status().running).not.toBeNull();
  expect(await done).toMatchObject({ outcome: "taken" });
  expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "skipped", reason: "unchanged" });
  source.txId += 1;
  expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "taken" });
});

test("while a requested round runs, another request is refused, and a scheduled look waits", async () => {
  const { clock, source, checkpointer, events } = await start();
  const release = holdCapture(source);
  const { done } = checkpointer.checkpointNow();
  await vi.waitFor(() => expect(source.captures).toBe(1));
  const second = checkpointer.checkpointNow();
  await expect(second.begun).rejects.toMatchObject({ code: "CHECKPOINT_RUNNING" });
  await expect(second.done).rejects.toMatchObject({ code: "CHECKPOINT_RUNNING" });
  clock.advance(30_000);
  await vi.waitFor(() => expect(checkpointer.status().nextCheckAt).toBeNull());
  expect(types(events)).toEqual(["begun"]);
  release();
  await done;
  await vi.waitFor(() =>
    expect(types(events)).toEqual(["begun", "taken", "sweep-begun", "swept", "begun", "skipped"]),
  );
});

test("requests are refused once the checkpointer is stopped", async () => {
  const { checkpointer } = await start();
  await checkpointer.stop();
  await expect(checkpointer.checkpointNow().begun).rejects.toMatchObject({ code: "NOT_READY" });
  await checkpointer.stop();
});

test("stopping waits for a running upload", async () => {
  const { source, checkpointer, store } = await start();
  const release = holdCapture(source);
  const { done } = checkpointer.checkpointNow();
  await vi.waitFor(() => expect(source.captures).toBe(1));
  const stopped = checkpointer.stop();
  release();
  await stopped;
  expect(await done).toMatchObject({ outcome: "taken" });
  expect((await listCheckpoints(store)).checkpoints).toHaveLength(1);
});

test("an upload that exceeds the time limit is aborted, and none of it is listed", async () => {
  const memory = memoryStore();
  const uploading = vi.fn<() => void>();
  const slow: CheckpointStore = {
    ...memory,
    upload(name, _content, options) {
      uploading();
      return memory.upload(name, new Readable({ read: () => undefined }), options);
    },
  };
  const { clock, checkpointer, dir } = await start({ store: slow });
  const { done } = checkpointer.checkpointNow();
  await vi.waitFor(() => expect(uploading).toHaveBeenCalledOnce());
  const stopped = checkpointer.stop({ timeoutMs: 1000 });
  clock.advance(1000);
  await expect(done).rejects.toMatchObject({ code: "NOT_READY" });
  await stopped;
  expect(await namesIn(memory)).toEqual([]);
  await expect(readdir(join(dir, "capture"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("when it is stopped, a checkpointer saves once more if that is configured and something has changed", async () => {
  const { checkpointer, source, store } = await start({ checkpointOnClose: true });
  await checkpointer.checkpointNow().done;
  source.txId = 2;
  await checkpointer.stop();
  expect((await listCheckpoints(store)).checkpoints.map(({ txId }) => txId)).toEqual([2, 1]);
});

test("an unreachable store does not keep a node from stopping", async () => {
  const { checkpointer, events } = await start({ checkpointOnClose: true }, { fail: unreachable });
  await checkpointer.stop();
  expect(types(events)).toEqual(["begun", "failed"]);
});

test.each([
  { keepDirBetweenCheckpoints: true, keepDirOnClose: true, between: true, after: true },
  { keepDirBetweenCheckpoints: true, keepDirOnClose: false, between: true, after: false },
  { keepDirBetweenCheckpoints: false, keepDirOnClose: true, between: false, after: false },
])(
  "the capture directory is kept or removed as configured: $keepDirBetweenCheckpoints, $keepDirOnClose",
  async (told) => {
    const { between, after, ...options } = told;
    const { checkpointer, dir } = await start(options);
    const isThere = async (): Promise<boolean> => (await readdir(dir)).includes("capture");
    await checkpointer.checkpointNow().done;
    await vi.waitFor(() => expect(checkpointer.status().running).toBeNull());
    expect(await isThere()).toBe(between);
    await checkpointer.stop();
    expect(await isThere()).toBe(after);
  },
);

test("a capture directory that the checkpointer did not create is kept, with the foreign files in it", async () => {
  const dir = await temporaryDirectory();
  const checkpointDir = join(dir, "capture");
  await mkdir(join(checkpointDir, "capture-of-another-node"), { recursive: true });
  await writeFile(join(checkpointDir, "precious"), "x");
  const { checkpointer } = await start({ checkpointDir, keepDirBetweenCheckpoints: false });
  await checkpointer.checkpointNow().done;
  await checkpointer.stop();
  expect((await readdir(checkpointDir)).toSorted()).toEqual(["capture-of-another-node", "precious"]);
});

test("an empty capture directory that the checkpointer did not create is kept", async () => {
  const dir = await temporaryDirectory();
  const checkpointDir = join(dir, "capture");
  await mkdir(checkpointDir);
  const { checkpointer } = await start({ checkpointDir, keepDirBetweenCheckpoints: false });
  await checkpointer.checkpointNow().done;
  await checkpointer.stop();
  expect(await readdir(dir)).toEqual(["capture"]);
});

test("captures left by an earlier process of the node are removed", async () => {
  const { checkpointer, source, dir } = await start();
  let left = "";
  source.beforeCapture = async () => {
    [left = ""] = await readdir(join(dir, "capture"));
  };
  source.capture = async (target) => {
    await mkdir(target);
    left = target;
    throw new Error("killed");
  };
  await expect(checkpointer.checkpointNow().done).rejects.toThrow("killed");
  await checkpointer.stop();
  await mkdir(left, { recursive: true });
  await writeFile(join(left, "000001.ldb"), "x");
  const again = await start({ checkpointDir: join(dir, "capture") });
  await again.checkpointer.checkpointNow().done;
  expect(await readdir(join(dir, "capture"))).toEqual([]);
});

test("a period of fifty milliseconds works, on the machine's own clock", async () => {
  const source = testSource();
  const store = memoryStore();
  const checkpointer = startCheckpointer({
    source,
    options: {
      store,
      approxFrequency: 50,
      checkpointDir: join(await temporaryDirectory(), "capture"),
      keepDirBetweenCheckpoints: true,
      keepDirOnClose: false,
      checkpointOnClose: false,
      compression: "none",
    },
    onEvent: ({ type }) => {
      if (type === "taken") source.txId += 1;
    },
  });
  await vi.waitFor(() => expect(source.captures).toBeGreaterThanOrEqual(5), { timeout: 30_000 });
  await checkpointer.stop();
  const { captures } = source;
  expect((await listCheckpoints(store)).checkpoints).toHaveLength(captures);
});
