// @module-tag nats
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CheckpointStore, readReservations } from "@cairn/checkpoint";
import { manualClock } from "@cairn/checkpoint/testing";
import { CairnError, levelProvider } from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import { EventDispatcher } from "../../src/observe/event-dispatcher.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import type { VerifiedSummary } from "@cairn/client";
import { startRestoreDrill } from "../../src/upkeep/restore-drill.ts";
import { planTrim } from "../../src/upkeep/plan-trim.ts";
import { verifyCheckpoint } from "../../src/checkpoints/verify-checkpoint.ts";
import { saveAltered } from "@cairn/test-support/nodes/altered-index";
import { put, type TrimScene, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const EVERY = 10_000_000;

/** Returns the drill of a node whose clock does not advance, and its events. */
async function drill(scene: TrimScene, node: string, store = scene.store, log?: TxLog) {
  const clock = manualClock();
  const verified: [VerifiedSummary, boolean][] = [];
  const errors: unknown[] = [];
  const work = startRestoreDrill({
    store,
    ...(log === undefined ? {} : { log }),
    every: EVERY,
    logId: await logIdOf(scene),
    provider: levelProvider(),
    stagingDir: path.join(scene.folder, "staging"),
    node,
    events: new EventDispatcher(() => undefined),
    clock,
    random: () => 0.5,
    onVerified: (last, byThisNode) => verified.push([last, byThisNode]),
    onError: (error) => errors.push(error),
  });
  onTestFinished(() => work.stop());
  const next = async (): Promise<number> => {
    await vi.waitFor(() => expect(clock.waits()).toHaveLength(1), { timeout: 30_000 });
    return (clock.waits()[0] ?? 0) - clock.now();
  };
  const begin = async (): Promise<void> => clock.advance(await next());
  /** Starts the next look, and waits until it has ended. */
  const look = async (): Promise<void> => {
    await begin();
    await next();
  };
  return { verified, errors, begin, look, next, work };
}

async function logIdOf(scene: TrimScene): Promise<string> {
  const log = await scene.openLog();
  const id = (await log.exists()) ? await log.id() : "none";
  await log.close();
  return id ?? "none";
}

it("a drill verifies the newest checkpoint once per period in the cluster", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const first = await drill(scene, "a");
  await first.look();
  expect(first.verified).toMatchObject([[{ name: newer, node: "a", txId: 21 }, true]]);
  expect(await first.next()).toBeGreaterThan(EVERY * 0.89);
  const second = await drill(scene, "b");
  await second.look();
  expect(second.verified).toMatchObject([[{ name: newer, node: "a" }, false]]);
  expect(await second.next()).toBeGreaterThan(EVERY * 0.89);
});

it("a drill writes its mark while sweeps still keep the checkpoint", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const kept: boolean[] = [];
  const store: CheckpointStore = {
    ...scene.store,
    create: async (name, ...rest) => {
      if (name === `${newer}.verified.json`)
        kept.push((await readReservations(scene.store)).reserved.has(newer));
      return await scene.store.create(name, ...rest);
    },
  };
  await (await drill(scene, "a", store)).look();
  expect(kept).toEqual([true]);
  expect((await readReservations(scene.store)).reserved).toEqual(new Set());
});

it("a drill reports a checkpoint that cannot be restored, marks nothing, and continues", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const archive = path.join(scene.folder, "checkpoints", `${newer}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  const { errors, verified, look } = await drill(scene, "a");
  await look();
  // For a period, it only looks for what other nodes have verified.
  for (let looks = 0; looks < 9; looks += 1) await look();
  expect(errors).toMatchObject([{ code: "CHECKPOINT_CORRUPT" }]);
  await look();
  expect(errors).toMatchObject([{ code: "CHECKPOINT_CORRUPT" }, { code: "CHECKPOINT_CORRUPT" }]);
  expect(verified).toEqual([]);
  expect((await readdir(path.join(scene.folder, "checkpoints"))).join()).not.toContain("verified");
});

it("a drill that failed soon finds what another node has verified since", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const full = new CairnError("DISK_FULL", "No space is left.");
  const { errors, verified, look, next } = await drill(scene, "a", {
    ...scene.store,
    open: () => Promise.reject(full),
  });
  await look();
  expect([errors, verified]).toEqual([[expect.objectContaining({ code: "DISK_FULL" })], []]);
  await scene.verify(newer);
  expect(await next()).toBeLessThan(EVERY * 0.12);
  await look();
  expect(verified).toMatchObject([[{ name: newer, node: "verifier" }, false]]);
});

it(
  "a drill removes the mark of a checkpoint that has been damaged since, so that the log is not trimmed because of it",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const [older, newer] = await twoCheckpoints(scene);
    const log = await scene.openLog();
    onTestFinished(() => log.close());
    const verifier = {
      store: scene.store,
      log,
      provider: levelProvider(),
      stagingDir: path.join(scene.folder, "staging"),
      node: "a",
    };
    for (const name of [older, newer]) await verifyCheckpoint({ ...verifier, name });
    const plan = () => planTrim({ log, stores: [scene.store], kvFormat: levelProvider().format });
    expect((await plan()).checkpoint?.name).toBe(older);
    const archive = path.join(scene.folder, "checkpoints", `${older}.tar`);
    const bytes = await readFile(archive);
    bytes[600] = (bytes[600] ?? 0) ^ 1;
    await writeFile(archive, bytes);
    const given = new CairnError("CHECKPOINT_INCOMPLETE", "Interrupted.");
    const aborted = verifyCheckpoint({ ...verifier, name: older, signal: AbortSignal.abort(given) });
    await expect(aborted).rejects.toBe(given);
    expect((await plan()).checkpoint?.name).toBe(older);
    await expect(verifyCheckpoint({ ...verifier, name: older })).rejects.toMatchObject({
      code: "CHECKPOINT_CORRUPT",
    });
    expect((await plan()).checkpoint?.name).toBe(newer);
    const denied = new CairnError("STORE_DENIED", "No.");
    await writeFile(path.join(scene.folder, "checkpoints", `${newer}.tar`), "");
    const store = { ...scene.store, remove: () => Promise.reject(denied) };
    await expect(verifyCheckpoint({ ...verifier, store, name: newer })).rejects.toMatchObject({
      code: "CHECKPOINT_INCOMPLETE",
    });
  },
);

it("a drill looks again soon while there is no checkpoint", async () => {
  const scene = await trimScene("embedded");
  const node = await scene.start("first");
  await node.ready;
  await put(node, 0, 1);
  await node.close();
  const { errors, verified, look, next } = await drill(scene, "a");
  await look();
  expect([errors, verified]).toEqual([[], []]);
  expect(await next()).toBe(EVERY * 0.1);
});

it("a drill stops immediately in the middle of a verification, and leaves no files", async () => {
  const scene = await trimScene("embedded");
  await twoCheckpoints(scene);
  let opened = false;
  // The archive never arrives.
  const open: CheckpointStore["open"] = (_name, options) => {
    opened = true;
    return new Promise((_resolve, reject) => {
      options?.signal?.addEventListener("abort", () => reject(new Error("given up")));
    });
  };
  const { errors, verified, begin, work } = await drill(scene, "a", { ...scene.store, open });
  await begin();
  await vi.waitFor(() => expect(opened).toBe(true), { timeout: 30_000 });
  await work.stop();
  expect([errors, verified]).toEqual([[], []]);
  expect(await readdir(path.join(scene.folder, "checkpoints", "reservations"))).toEqual([]);
});

it("the node's status shows the outcome of the last drill, and its checkpoint", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const archive = path.join(scene.folder, "checkpoints", `${newer}.tar`);
  const whole = await readFile(archive);
  const damaged = Buffer.from(whole);
  damaged[600] = (damaged[600] ?? 0) ^ 1;
  await writeFile(archive, damaged);
  const node = await scene.start("a", { verifyEvery: 200 });
  const drilled = async (outcome: string) => {
    await vi.waitFor(async () => expect((await node.status()).checkpoints.lastDrill?.outcome).toBe(outcome), {
      timeout: 30_000,
    });
    return (await node.status()).checkpoints;
  };
  const failed = await drilled("failed");
  expect(failed.lastDrill).toMatchObject({
    code: "CHECKPOINT_CORRUPT",
    message: expect.stringContaining(newer),
  });
  expect(failed.lastVerified).toBeNull();
  await writeFile(archive, whole);
  const { lastDrill, lastVerified } = await drilled("verified");
  expect(lastDrill).toMatchObject({ name: newer, code: null });
  expect(lastVerified).toMatchObject({ name: newer });
});

it("if a missing checkpoint is requested, the error is returned to the caller, and no drill fails", async () => {
  const scene = await trimScene("embedded");
  await twoCheckpoints(scene);
  const node = await scene.start("a");
  await node.ready;
  await expect(node.verifyCheckpoint("checkpoint-1-mistyped")).rejects.toMatchObject({
    code: "CHECKPOINT_NOT_FOUND",
    hint: expect.stringContaining("checkpoint list"),
  });
  expect((await node.status()).checkpoints.lastDrill).toBeNull();
  expect(await node.metrics()).not.toMatch(/cairn_work_failures_total\{work="verification".*[1-9]$/m);
});

it("a drill skips a checkpoint with transactions that the log lost", { tags: "rest/slow" }, async () => {
  const scene = await trimScene("nats");
  const [, newer] = await twoCheckpoints(scene);
  const lost = await saveAltered(scene, "first", { txId: 1_000, sha256: "f".repeat(64) });
  expect((await scene.checkpoints())[0]).toBe(lost);
  const log = await scene.openLog();
  onTestFinished(() => log.close());
  const { verified, look } = await drill(scene, "a", scene.store, log);
  await look();
  expect(verified).toMatchObject([[{ name: newer }, true]]);
});

it("a drill is repeated soon if the store does not respond, and after a period if the checkpoint is damaged", async () => {
  const scene = await trimScene("embedded");
  await twoCheckpoints(scene);
  const error = new CairnError("STORE_UNREACHABLE", "It does not answer.");
  const away = { ...scene.store, list: () => Promise.reject(error) };
  const { errors, look, next } = await drill(scene, "a", away);
  const pauses: number[] = [];
  for (let tries = 0; tries < 3; tries += 1) {
    await look();
    pauses.push(await next());
  }
  expect(errors).toEqual([error, error, error]);
  expect(pauses).toEqual([5_000, 10_000, 20_000]);
});

it(
  "a verification that the store interrupted is repeated, even if another node has verified meanwhile",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("embedded");
    const [, newer] = await twoCheckpoints(scene);
    const error = new CairnError("STORE_UNREACHABLE", "It does not answer.");
    const other = await drill(scene, "b");
    let isAway = true;
    const open: CheckpointStore["open"] = async (name, options) => {
      if (!isAway) return await scene.store.open(name, options);
      if (other.verified.length === 0) await other.look();
      throw error;
    };
    const { errors, verified, look, next } = await drill(scene, "a", { ...scene.store, open });
    await look();
    expect(errors).toMatchObject([{ code: "STORE_UNREACHABLE" }]);
    expect(other.verified).toMatchObject([[{ name: newer, node: "b" }, true]]);
    isAway = false;
    await look();
    expect(verified.at(-1)).toMatchObject([{ name: newer, node: "a" }, true]);
    expect(await next()).toBeGreaterThan(EVERY * 0.89);
  },
);

it("a drill verifies despite a mark with a time in the future", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  await scene.verify(newer);
  const file = `${newer}.verified.json`;
  const mark = await scene.store.read(file);
  const text = (mark?.text ?? "").replace(
    /"verifiedAt": "[^"]*"/,
    '"verifiedAt": "2099-01-01T00:00:00.000Z"',
  );
  expect(await scene.store.replace(file, text, mark?.tag ?? "")).not.toBe(false);
  const { verified, look } = await drill(scene, "a");
  await look();
  expect(verified.at(-1)).toMatchObject([{ name: newer, node: "a" }, true]);
  expect((await scene.store.read(file))?.text).not.toContain("2099");
});

it("if a verification finds the newest checkpoint damaged, the node replaces it, even without new transactions", async () => {
  const scene = await trimScene("embedded");
  const node = await scene.start("a");
  await node.ready;
  await put(node, 0, 3);
  await saveCheckpoint(node);
  expect(await node.checkpoint().done).toEqual({ skipped: "unchanged" });
  const [damaged = ""] = await scene.checkpoints();
  await flipByte(path.join(scene.folder, "checkpoints", `${damaged}.tar`));
  await expect(node.verifyCheckpoint()).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  // The node looks again at once, so a request may find it saving.
  await vi.waitFor(async () => expect((await scene.checkpoints())[0]).not.toBe(damaged), 30_000);
  await vi.waitFor(
    async () => expect(await node.checkpoint().done).toEqual({ skipped: "unchanged" }),
    30_000,
  );
  const [whole = ""] = await scene.checkpoints();
  expect(await node.verifyCheckpoint()).toMatchObject({ name: whole });
});

it("a node replaces the newest checkpoint if it skipped that checkpoint as damaged while joining", async () => {
  const scene = await trimScene("embedded");
  const first = await scene.start("a");
  await first.ready;
  for (const from of [0, 5]) {
    await put(first, from, from + 5);
    await saveCheckpoint(first);
  }
  await first.close();
  const [newer = "", older] = await scene.checkpoints();
  await flipByte(path.join(scene.folder, "checkpoints", `${newer}.tar`));
  const node = await scene.start("b");
  await node.ready;
  expect((await node.status()).join).toMatchObject({
    restoredFrom: { name: older },
    skipped: [{ name: newer, code: "CHECKPOINT_CORRUPT" }],
  });
  expect(await node.checkpoint().done).toMatchObject({ checkpoint: { txId: 11 } });
});

async function flipByte(file: string): Promise<void> {
  const bytes = await readFile(file);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(file, bytes);
}
