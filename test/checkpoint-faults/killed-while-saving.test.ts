// @module-tag nats
import { readdir, utimes } from "node:fs/promises";
import path from "node:path";
import { filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { systemErrorCode } from "@cairn/kv";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type NodeProcess, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { CheckpointCluster } from "@cairn/test-support/checkpoint-cluster";
import { killAt, STEPS } from "@cairn/test-support/killed-saver";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";

const KILLS = soakRounds(1);
const MEGABYTES = 8;
const TWO_HOURS = 7_200;

const steps = Object.entries(STEPS);
const QUICK_STEPS = new Set(["it captures the index"]);

/** The last test needs the files that the kills of the second tier leave behind. */
const IN_ORDER = { shuffle: false, timeout: soakTimeout(KILLS, 60_000) };

describe("a node that is killed while it saves a checkpoint", IN_ORDER, () => {
  let cluster: CheckpointCluster;
  let saver: NodeProcess;
  let other: NodeProcess;

  beforeAll(async () => {
    cluster = await CheckpointCluster.open();
    // This node's first look at the store comes after the saver has started, and its next one hours later.
    other = await cluster.start("b", "PT6H");
    await cluster.load(other, MEGABYTES);
    saver = await cluster.start("a", "PT1S");
    cluster.write([other]);
    // With two checkpoints in the store, the next save removes one.
    await savedAgain(2);
  });
  afterAll(async () => {
    await cluster.close();
  });

  async function expectComplete(_step: string, wanted: (typeof STEPS)[string]): Promise<void> {
    const store = cluster.store.folder;
    const capture = path.join(cluster.folder, "a-index", "capture");
    for (let kill = 0; kill < KILLS; kill += 1) {
      expect(await killAt(saver, { store, capture }, wanted, 120_000)).toBe(true);
      cluster.forget(saver);
      const abandoned = await readdir(capture);

      const { checkpoints, skipped } = await listCheckpoints(filesystemStore({ path: store }));
      expect(skipped).toEqual([]);
      expect(checkpoints.length).toBeGreaterThanOrEqual(2);
      await runCairnOrThrow(["checkpoint", "verify", store, "--no-mark"]);

      saver = await cluster.start("a", "PT1S");
      expect((await saver.status()).join).toMatchObject({ restoredFrom: null, movedAside: [] });
      expect(new Set(await cluster.settle()).size).toBe(1);
      cluster.write([other]);
      await savedAgain();
      const left = new Set(await readdir(capture));
      expect(abandoned.filter((name) => left.has(name))).toEqual([]);
    }
  }

  it.each(steps.filter(([step]) => QUICK_STEPS.has(step)))(
    `leaves only complete checkpoints when %s (kills: ${KILLS})`,
    expectComplete,
  );

  it.each(steps.filter(([step]) => !QUICK_STEPS.has(step)))(
    `leaves only complete checkpoints when %s (kills: ${KILLS})`,
    { tags: "rest/slow" },
    expectComplete,
  );

  it("leaves files that later rounds remove once they are old enough", { tags: "rest/slow" }, async () => {
    const store = cluster.store.folder;
    // The node is stopped first, because the files of its running round are not leftovers.
    await saver.stop();
    cluster.forget(saver);
    const unfinished = new Set(await leftIn(store));
    saver = await cluster.start("a", "PT1S");
    const leftovers = (await leftIn(store)).filter((name) => unfinished.has(name));
    expect(leftovers.some((name) => name.startsWith(".tmp-"))).toBe(true);
    expect(leftovers.some((name) => name.endsWith(".tar"))).toBe(true);
    await savedAgain();
    // While they are recent, they may belong to a node that is still writing.
    expect(await leftIn(store)).toEqual(expect.arrayContaining(leftovers));
    for (const name of leftovers) await makeOld(path.join(store, name));
    await vi.waitFor(
      async () => {
        const left = new Set(await readdir(store));
        expect(leftovers.filter((name) => left.has(name))).toEqual([]);
      },
      { timeout: 30_000, interval: 50 },
    );
    const { skipped } = await listCheckpoints(filesystemStore({ path: store }));
    expect(skipped).toEqual([]);
  });

  /** Waits until `count` more checkpoints have been saved. */
  async function savedAgain(count = 1): Promise<void> {
    const before = cluster.store.checkpoints.size;
    await vi.waitFor(() => expect(cluster.store.checkpoints.size).toBeGreaterThanOrEqual(before + count), {
      timeout: 60_000,
      interval: 20,
    });
  }
});

/**
 * Makes a file look old. The file may no longer exist: an archive whose node was killed while the archive was given its
 * name is one file with two names.
 */
async function makeOld(file: string): Promise<void> {
  const old = Date.now() / 1_000 - TWO_HOURS;
  try {
    await utimes(file, old, old);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
}

/** Returns the unfinished files and the archives without a manifest in a store. */
async function leftIn(store: string): Promise<string[]> {
  const names = new Set(await readdir(store));
  return [...names].filter(
    (name) => name.startsWith(".tmp-") || (name.endsWith(".tar") && !names.has(name.replace(/tar$/, "json"))),
  );
}
