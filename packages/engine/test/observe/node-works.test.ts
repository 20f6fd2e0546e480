import { rm } from "node:fs/promises";
import path from "node:path";
import { PassThrough, type Readable } from "node:stream";
import { faultyStore, unreachable } from "@cairn/checkpoint/testing";
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import { observedScene, of, put, unpaired } from "@cairn/test-support/nodes/observed-node";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

it("a node reports the beginning and the end of each task, with its outcome, duration and bytes", async () => {
  const scene = await observedScene();
  const retentionPolicy = { retainAtLeast: 1 };
  const first = await scene.start("a", { checkpointing: { retentionPolicy } });
  await first.ready;
  expect(await first.checkpoint().done).toEqual({ skipped: "empty" });
  await put(first, "one");
  await saveCheckpoint(first);
  await put(first, "two");
  await saveCheckpoint(first);
  const verified = await first.verifyCheckpoint();
  expect(await first.checkpoint().done).toEqual({ skipped: "unchanged" });
  await first.close();
  const [newest] = await scene.store.list(`${verified.name}.tar`);

  expect(unpaired(scene.events)).toEqual([]);
  const bytes = newest?.bytes;
  expect(of(scene.events, "restore")[1]).toMatchObject({ stage: "ended", outcome: "none", bytes: 0 });
  expect(of(scene.events, "checkpoint")).toMatchObject([
    { stage: "begun" },
    { stage: "ended", outcome: "empty", bytes: 0 },
    { stage: "begun" },
    { stage: "ended", outcome: "saved", checkpoint: { txId: 2, node: "a" } },
    { stage: "begun" },
    { stage: "ended", outcome: "saved", checkpoint: { txId: 3 }, bytes },
    { stage: "begun" },
    { stage: "ended", outcome: "unchanged", bytes: 0 },
  ]);
  const older = of(scene.events, "checkpoint")[3];
  const removed = older?.stage === "ended" && older.outcome === "saved" ? older.checkpoint : undefined;
  expect(of(scene.events, "sweep")[3]).toMatchObject({
    outcome: "swept",
    removed: [{ name: removed?.name, reason: "retention", bytes: removed?.bytes }],
    failed: [],
    bytes: removed?.bytes,
  });
  expect(of(scene.events, "verification")).toMatchObject([
    { stage: "begun" },
    { stage: "ended", verified, bytes },
  ]);

  await rm(path.join(scene.folder, "a-index"), { recursive: true });
  const second = await scene.start("a");
  await second.ready;
  expect(of(scene.events, "restore")[3]).toMatchObject({
    outcome: "restored",
    name: verified.name,
    txId: 3,
    store: scene.store.location,
    bytes,
    skipped: [],
  });
});

it("a node reports a failed upload with its error and the bytes packed, and continues", async () => {
  const scene = await observedScene();
  let isAway = false;
  const store = faultyStore(scene.store, {
    before: (call) =>
      isAway && call.method === "upload" ? Promise.reject(unreachable()) : Promise.resolve(),
  });
  const node = await scene.start("a", { checkpointing: { store } });
  await node.ready;
  await put(node, "one");
  isAway = true;
  await expect(node.checkpoint().done).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  isAway = false;
  await saveCheckpoint(node);
  expect(unpaired(scene.events)).toEqual([]);
  expect(of(scene.events, "checkpoint")).toMatchObject([
    { stage: "begun" },
    { stage: "failed", error: { code: "STORE_UNREACHABLE" } },
    { stage: "begun" },
    { stage: "ended", outcome: "saved" },
  ]);
});

it("a node reports an unexpected exception, such as a lack of memory, as a failure", async () => {
  const scene = await observedScene();
  const store = faultyStore(scene.store, {
    before: (call) =>
      call.method === "upload"
        ? Promise.reject(new RangeError("Array buffer allocation failed"))
        : Promise.resolve(),
  });
  const node = await scene.start("a", { checkpointing: { store } });
  await node.ready;
  await put(node, "one");
  await expect(node.checkpoint().done).rejects.toBeInstanceOf(RangeError);
  expect(unpaired(scene.events)).toEqual([]);
  expect(of(scene.events, "checkpoint")[1]).toMatchObject({ stage: "failed", error: { code: "INTERNAL" } });
});

it("a node reports a sweep as failed if its store fails during it, although the checkpoint is saved", async () => {
  const scene = await observedScene();
  let isSaved = false;
  const store = faultyStore(scene.store, {
    before: (call) => (isSaved && call.method === "list" ? Promise.reject(unreachable()) : Promise.resolve()),
  });
  const node = await scene.start("a", {
    checkpointing: { store, retentionPolicy: { retainAtLeast: 1 } },
    onEvent: (event) => {
      if (event.work === "checkpoint" && event.stage === "ended") isSaved = true;
    },
  });
  await node.ready;
  await put(node, "one");
  expect(await node.checkpoint().done).toMatchObject({ checkpoint: { txId: 2 } });
  expect(of(scene.events, "sweep")).toMatchObject([
    { stage: "begun" },
    { stage: "failed", error: { code: "STORE_UNREACHABLE" } },
  ]);
});

it("a node reports the verification of a damaged checkpoint as failed", async () => {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  await put(node, "one");
  const result = await node.checkpoint().done;
  const name = "checkpoint" in result ? result.checkpoint.name : "";
  await scene.store.remove(`${name}.tar`);
  await expect(node.verifyCheckpoint(name)).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPLETE" });
  expect(of(scene.events, "verification")[1]).toMatchObject({
    stage: "failed",
    error: { code: "CHECKPOINT_INCOMPLETE" },
  });
});

it(
  "a node reports a hanging upload as failed, with the reason, when it stops",
  { tags: "rest/slow" },
  async () => {
    const scene = await observedScene();
    const { store } = scene;
    let isUploading = false;
    const hanging = {
      ...faultyStore(store, {}),
      upload: async (_name: string, content: Readable, { signal }: { signal?: AbortSignal } = {}) => {
        isUploading = true;
        content.on("error", () => undefined);
        await new Promise((_resolve, reject) => {
          signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        });
        return { bytes: 0 };
      },
    };
    const node = await scene.start("a", { checkpointing: { store: hanging } });
    await node.ready;
    await put(node, "one");
    const { done } = node.checkpoint();
    const end = done.catch((error: unknown) => error);
    await vi.waitFor(() => expect(isUploading).toBe(true));
    await node.close();
    expect(await end).toMatchObject({ code: "NOT_READY" });
    expect(unpaired(scene.events)).toEqual([]);
    expect(of(scene.events, "checkpoint")[1]).toMatchObject({
      stage: "failed",
      error: { code: "NOT_READY" },
    });
  },
);

it("a node reports a restore in the middle of its archive as failed when it stops", async () => {
  const scene = await observedScene();
  const first = await scene.start("a");
  await first.ready;
  await put(first, "one");
  await saveCheckpoint(first);
  await first.close();
  scene.events.length = 0;
  let isOpen = false;
  const stuck = {
    ...faultyStore(scene.store, {}),
    open: (_name: string, { signal }: { signal?: AbortSignal } = {}) => {
      isOpen = true;
      // This stream never delivers anything.
      const held = new PassThrough();
      signal?.addEventListener("abort", () => held.destroy(signal.reason as Error), { once: true });
      return Promise.resolve(held);
    },
  };
  const second = await scene.start("b", { checkpointing: { store: stuck } });
  await vi.waitFor(() => expect(isOpen).toBe(true));
  await second.close();
  await expect(second.ready).rejects.toMatchObject({ code: "NOT_READY" });
  expect(unpaired(scene.events)).toEqual([]);
  expect(of(scene.events, "restore")).toMatchObject([
    { stage: "begun" },
    { stage: "failed", error: { code: "NOT_READY" } },
  ]);
});

it("a node is not affected by an observer that throws, which is logged", async () => {
  const scene = await observedScene();
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => lines.push(line) });
  const node = await scene.start("a", {
    logger,
    onEvent: () => {
      throw new Error("observer");
    },
  });
  await node.ready;
  await put(node, "one");
  expect(await node.checkpoint().done).toMatchObject({ checkpoint: { txId: 2 } });
  expect(lines.some((line) => line.includes("a listener for the node's events failed"))).toBe(true);
});

it("a node logs saved and restored checkpoints with their cost, and logs rounds that found nothing to do at debug", async () => {
  const scene = await observedScene();
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): unknown => lines.push(JSON.parse(line) as Record<string, unknown>);
  const logger = pino({ level: "debug" }, { write });
  const node = await scene.start("a", { logger });
  await node.ready;
  await put(node, "one");
  await saveCheckpoint(node);
  await saveCheckpoint(node);
  await node.close();
  await (
    await scene.start("b", { logger })
  ).ready;
  const [debug, info] = [20, 30];
  const told = lines.map(({ level, msg, outcome, txId, bytes }) => ({ level, msg, outcome, txId, bytes }));
  const bytes: unknown = expect.any(Number);
  for (const line of [
    { level: debug, msg: "no checkpoint to restore", outcome: "none", bytes: 0 },
    { level: debug, msg: "looking at the checkpoint store" },
    { level: info, msg: "checkpoint saved", outcome: "saved", txId: 2, bytes },
    {
      level: debug,
      outcome: "unchanged",
      msg: expect.stringMatching(/^no checkpoint: The newest /),
      bytes: 0,
    },
    { level: info, msg: "checkpoint restored", outcome: "restored", txId: 2, bytes },
  ]) {
    expect(told).toContainEqual(expect.objectContaining(line));
  }
});

it("a node shows the age and the duration of the last checkpoint and verification in the status, by the store's clock", async () => {
  const scene = await observedScene();
  // The store's clock is an hour behind this machine's clock.
  const behind = { ...faultyStore(scene.store, {}), now: () => Promise.resolve(Date.now() - 3_600_000) };
  const node = await scene.start("a", { checkpointing: { store: behind } });
  await node.ready;
  await put(node, "one");
  await saveCheckpoint(node);
  const { name } = await node.verifyCheckpoint();
  const { checkpoints } = await node.status();
  expect(checkpoints.last?.name).toBe(name);
  expect(checkpoints.last?.ageMs).toBeLessThan(60_000);
  expect(checkpoints.lastVerified?.ageMs).toBeLessThan(60_000);
  expect(checkpoints.lastVerified?.durationMs).toBeGreaterThan(0);
  expect(checkpoints.lastSaved).toMatchObject({ name, txId: 2, durationMs: expect.any(Number) });
  expect(Date.now() - Date.parse(checkpoints.lastSaved?.at ?? "")).toBeLessThan(60_000);
});
