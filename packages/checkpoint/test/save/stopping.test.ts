import { EventEmitter, once } from "node:events";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { listCheckpoints } from "../../src/index.ts";
import type { CheckpointerEvent, CheckpointStore } from "../../src/index.ts";
import { archivingOnDisk } from "../../src/save/save-checkpoint.ts";
import type { PackOptions } from "../../src/archive/pack/pack.ts";
import type { ManualClock } from "../../testing/index.ts";
import { HOUR, start, types } from "../support/bench.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";
import { memoryStore } from "../../testing/index.ts";

/** Returns a promise that never settles. */
function silence(): Promise<never> {
  return new Promise(() => undefined);
}

/** Advances the clock by the time limit and one more second. */
async function stopNow(clock: ManualClock, stopped: Promise<void>): Promise<void> {
  clock.advance(1000);
  await vi.waitFor(() => expect(clock.waits()).toContain(clock.now() + 1000));
  clock.advance(1000);
  await stopped;
}

test.each(["list", "upload", "create"] as const)(
  "a store that never responds to %s, nor to an abort, does not keep a node from stopping",
  async (method) => {
    const memory = memoryStore();
    const called = vi.fn<() => Promise<never>>(silence);
    const store: CheckpointStore = { ...memory, [method]: called };
    const { checkpointer, clock } = await start({ store });
    checkpointer.checkpointNow();
    await vi.waitFor(() => expect(called).toHaveBeenCalled());
    const stopped = checkpointer.stop({ timeoutMs: 1000 });
    await stopNow(clock, stopped);
    // The round's lease is not renewed either.
    await vi.waitFor(() => expect(clock.waits()).toEqual([]));
    expect((await listCheckpoints(memory)).checkpoints).toEqual([]);
  },
);

test("a round whose store responds after the node has stopped captures and publishes nothing", async () => {
  const memory = memoryStore();
  const gate = new EventEmitter();
  const late = once(gate, "open");
  const called = vi.fn<() => void>();
  const store: CheckpointStore = {
    ...memory,
    async create(name, text) {
      called();
      await late;
      return memory.create(name, text);
    },
  };
  const { checkpointer, clock, source, events } = await start({ store });
  const { done } = checkpointer.checkpointNow();
  await vi.waitFor(() => expect(called).toHaveBeenCalledOnce());
  const stopped = checkpointer.stop({ timeoutMs: 1000 });
  await stopNow(clock, stopped);
  gate.emit("open");
  await expect(done).rejects.toMatchObject({ code: "NOT_READY" });
  expect(source.captures).toBe(0);
  expect(await namesIn(memory)).toEqual([]);
  expect(types(events)).toEqual(["begun", "failed"]);
});

test("once the node stops, both a running upload and the upload on close run at full speed", async () => {
  const packed: PackOptions[] = [];
  const { checkpointer, source } = await start({ checkpointOnClose: true }, {}, undefined, {
    archiving: {
      ...archivingOnDisk,
      pack(dir, options = {}) {
        packed.push(options);
        return archivingOnDisk.pack(dir, options);
      },
    },
  });
  await checkpointer.checkpointNow().done;
  expect(packed.map(({ hurry }) => hurry?.aborted)).toEqual([false]);
  source.txId += 1;
  await checkpointer.stop();
  expect(packed.map(({ hurry }) => hurry?.aborted)).toEqual([true, true]);
});

test("nothing is saved on close while the index is in doubt, even if saving on close is configured", async () => {
  const { checkpointer, source, events } = await start({ checkpointOnClose: true });
  await checkpointer.stop({ save: false });
  expect(events).toEqual([]);
  expect(source.captures).toBe(0);
});

test("a capture directory that was replaced by a file is left unchanged and reported, and does not keep a node from stopping", async () => {
  const { checkpointer, dir, events } = await start();
  await checkpointer.checkpointNow().done;
  await rm(join(dir, "capture"), { recursive: true });
  await writeFile(join(dir, "capture"), "a file now");
  await checkpointer.stop();
  expect(types(events)).toContain("warning");
  expect(await readdir(dir)).toEqual(["capture"]);
});

test("two processes with one node id and one capture directory do not remove each other's captures", async () => {
  const dir = await temporaryDirectory();
  const checkpointDir = join(dir, "capture");
  const first = testSource();
  first.beforeCapture = async () => {
    // The other process starts and removes leftovers while this process's capture exists.
    await mkdir(checkpointDir, { recursive: true });
    const { checkpointer } = await start({ checkpointDir, captureOwner: "/var/lib/index-b" });
    expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "taken" });
  };
  const capture = first.capture.bind(first);
  first.capture = async (target) => {
    const { beforeCapture } = first;
    first.beforeCapture = async () => undefined;
    const state = await capture(target);
    await beforeCapture();
    return state;
  };
  const store = memoryStore();
  const options = { checkpointDir, captureOwner: "/var/lib/index-a" };
  expect(await take(store, first, dir, { options })).toMatchObject({ outcome: "taken" });
});

describe.each([
  ["saves nothing, since the newest checkpoint is recent", true, ["skipped", "taken"]],
  ["saves a checkpoint", false, ["taken", "taken"]],
] as const)("a request during a scheduled look that %s", (_, isRecent, ends) => {
  async function requested() {
    let hold = false;
    const gate = new EventEmitter();
    const before = async (): Promise<void> => void (hold ? await once(gate, "open") : undefined);
    // Everything has changed again after each round.
    const changes = ({ type }: CheckpointerEvent): void => {
      if (type === "taken" || type === "skipped") source.txId += 1;
    };
    const { checkpointer, clock, source, events, look } = await start({}, { before }, changes);
    await look();
    clock.advance(HOUR / 2);
    if (isRecent) await checkpointer.checkpointNow().done;
    events.length = 0;
    hold = true;
    clock.advance(HOUR / 2);
    await vi.waitFor(() => expect(checkpointer.status().running).not.toBeNull());
    const { begun, done } = checkpointer.checkpointNow();
    await begun;
    const release = (): void => {
      hold = false;
      gate.emit("open");
    };
    return { checkpointer, events, done, release };
  }

  test("is carried out after it, and another request is refused until then", async () => {
    const { checkpointer, events, done, release } = await requested();
    const another = checkpointer.checkpointNow();
    await expect(another.begun).rejects.toMatchObject({ code: "CHECKPOINT_RUNNING" });
    await expect(another.done).rejects.toMatchObject({ code: "CHECKPOINT_RUNNING" });
    release();
    expect(await done).toMatchObject({ outcome: "taken" });
    expect(types(events).filter((type) => type === "skipped" || type === "taken")).toEqual(ends);
    expect(await checkpointer.checkpointNow().done).toMatchObject({ outcome: "taken" });
  });

  test("is refused if the checkpointer is stopped meanwhile", async () => {
    const { checkpointer, events, done, release } = await requested();
    const stopped = checkpointer.stop();
    release();
    await expect(done).rejects.toMatchObject({ code: "NOT_READY" });
    await stopped;
    expect(types(events).filter((type) => type === "begun")).toHaveLength(1);
  });
});
