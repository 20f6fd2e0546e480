import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CheckpointStore } from "@cairn/checkpoint";
import { manualClock } from "@cairn/checkpoint/testing";
import { levelProvider } from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import { NodeEvents } from "../../src/events/node-events.ts";
import { type LastVerified, startRestoreDrill } from "../../src/upkeep/restore-drill.ts";
import { put, type TrimScene, trimScene, twoCheckpoints } from "./trim-scene.ts";

const EVERY = 10_000_000;

/** A drill of a node, whose clock stands still; what it told. */
async function drill(scene: TrimScene, node: string, store = scene.store) {
  const clock = manualClock();
  const verified: [LastVerified, boolean][] = [];
  const errors: unknown[] = [];
  const work = startRestoreDrill({
    store,
    every: EVERY,
    logId: await logIdOf(scene),
    provider: levelProvider(),
    stagingDir: path.join(scene.folder, "staging"),
    node,
    events: new NodeEvents(() => undefined),
    clock,
    random: () => 0.5,
    onVerified: (last, byThisNode) => verified.push([last, byThisNode]),
    onError: (error) => errors.push(error),
  });
  onTestFinished(() => work.stop());
  const next = async (): Promise<number> => {
    await vi.waitFor(() => expect(clock.waits()).toHaveLength(1), { timeout: 15_000 });
    return (clock.waits()[0] ?? 0) - clock.now();
  };
  const begin = async (): Promise<void> => clock.advance(await next());
  /** Lets the next look come, and waits until it ended. */
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

it("verifies the newest checkpoint once a period, whichever node does it", async () => {
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

it("tells a checkpoint that cannot be restored, marks nothing, and goes on", async () => {
  const scene = await trimScene("embedded");
  const [, newer] = await twoCheckpoints(scene);
  const archive = path.join(scene.folder, "checkpoints", `${newer}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  const { errors, verified, look } = await drill(scene, "a");
  await look();
  await look();
  expect(errors).toMatchObject([{ code: "CHECKPOINT_CORRUPT" }, { code: "CHECKPOINT_CORRUPT" }]);
  expect(verified).toEqual([]);
  expect((await readdir(path.join(scene.folder, "checkpoints"))).join()).not.toContain("verified");
});

it("looks again soon while there is no checkpoint", async () => {
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

it("stops at once in the middle of a verification, and leaves nothing", async () => {
  const scene = await trimScene("embedded");
  await twoCheckpoints(scene);
  let opened = false;
  // An archive that does not come until it is given up.
  const open: CheckpointStore["open"] = (_name, options) => {
    opened = true;
    return new Promise((_resolve, reject) => {
      options?.signal?.addEventListener("abort", () => reject(new Error("given up")));
    });
  };
  const { errors, verified, begin, work } = await drill(scene, "a", { ...scene.store, open });
  await begin();
  await vi.waitFor(() => expect(opened).toBe(true), { timeout: 15_000 });
  await work.stop();
  expect([errors, verified]).toEqual([[], []]);
  expect(await readdir(path.join(scene.folder, "checkpoints", "reservations"))).toEqual([]);
});
