// @module-tag nats
import { rm, utimes } from "node:fs/promises";
import path from "node:path";
import { faultyStore } from "@cairn/checkpoint/testing";
import { CairnError, levelProvider, systemClock } from "@cairn/kv";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type BackupLook, lookAtBackup } from "../../../src/backup/write/backup-look.ts";
import { removeOldLineage } from "../../../src/backup/write/expire-segments.ts";
import { planThrough, pruneThrough } from "../../../src/backup/write/prune-backup.ts";
import { listBackup } from "../../../src/backup/segments/segment-name.ts";
import type { BackupTarget } from "../../../src/backup/write/write-segments.ts";
import { readLogIdentity } from "../../../src/log/log-identity.ts";
import { usableCheckpoint } from "../../../src/upkeep/trim-floor.ts";
import { put, type TrimScene, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { backupTarget, ofOtherVersion, runs, writeRuns } from "@cairn/test-support/nodes/trimmed-backup";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const KEEP = 60_000;

interface Removal {
  readonly scene: TrimScene;
  readonly target: BackupTarget;
  /** The names of checkpoints at transactions 11 and 21. */
  readonly older: string;
  readonly newer: string;
  /** Removes the segments that are old after that time. */
  after(ms: number): Promise<string[]>;
}

/** Writes a log of 31 messages, checkpoints at 11 and 21, and four segments. */
async function setUp(): Promise<Removal> {
  const scene = await trimScene("embedded");
  const [older, newer] = await twoCheckpoints(scene);
  const log = await scene.openLog();
  onTestFinished(() => log.close());
  const target = await backupTarget(scene, log);
  await writeRuns(target, 1, 6, 11, 21, 32);
  const verifiedUpTo = async (): Promise<number | undefined> => {
    const identity = await readLogIdentity(log);
    if (identity === undefined) throw new Error("no log");
    const { format: kvFormat } = levelProvider();
    const found = await usableCheckpoint("oldest", { log, stores: [scene.store], kvFormat }, identity);
    return "position" in found ? found.checkpoint.txId : undefined;
  };
  const after = async (ms: number): Promise<string[]> => {
    const { segments } = await listBackup(target.store, target.of.id);
    return await removeOldLineage(target, segments, { keep: KEEP, verifiedUpTo }, Date.now() + ms);
  };
  return { scene, target, older, newer, after };
}

describe("segments of a log backup", () => {
  it("are kept until they are old and a verified checkpoint covers them", async () => {
    const { scene, target, older, after } = await setUp();
    expect(await after(2 * KEEP)).toEqual([]);
    await scene.verify(older);
    expect(await after(0)).toEqual([]);
    expect(await after(2 * KEEP)).toHaveLength(2);
    expect(await runs(target)).toEqual(["11-20", "21-31"]);
  });

  it("are kept while a checkpoint of any version needs them or later ones", async () => {
    const { scene, target, older, newer, after } = await setUp();
    await scene.verify(newer);
    await ofOtherVersion(scene, older);
    await after(2 * KEEP);
    expect(await runs(target)).toEqual(["11-20", "21-31"]);
    await rm(path.join(scene.folder, "checkpoints", `${older}.json`));
    await after(2 * KEEP);
    expect(await runs(target)).toEqual(["21-31"]);
  });

  it("are kept while the only verified checkpoint is of another version, because an index of this version begins with these segments", async () => {
    const { scene, target, newer, older, after } = await setUp();
    await scene.verify(older);
    await scene.verify(newer);
    await ofOtherVersion(scene);
    expect(await after(2 * KEEP)).toEqual([]);
    expect(await runs(target)).toHaveLength(4);
  });

  it("are kept while a node restores a checkpoint that was removed in the meantime", async () => {
    const { scene, target, older, newer, after } = await setUp();
    await scene.verify(newer);
    await rm(path.join(scene.folder, "checkpoints", `${older}.json`));
    const expiresAt = new Date(Date.now() + KEEP).toISOString();
    const reservation = { checkpoint: older, node: "n", expiresAt };
    await scene.store.create("reservations/0123456789abcdef.json", JSON.stringify(reservation));
    await after(2 * KEEP);
    expect(await runs(target)).toEqual(["11-20", "21-31"]);
  });

  it("are not written again even if the log still holds them, unless another program removed them", async () => {
    const { scene, target, older, after } = await setUp();
    const look = async (): Promise<BackupLook> =>
      await lookAtBackup({
        ...target,
        every: 60_000,
        forced: true,
        clock: systemClock,
        memory: { storeClock: undefined, damaged: new Map() },
      });
    await scene.verify(older);
    await after(2 * KEEP);
    expect(await look()).toMatchObject({ written: [], covered: [{ first: 11, last: 31 }] });
    const { segments } = await listBackup(target.store, target.of.id);
    await rm(path.join(scene.folder, "checkpoints", segments[0]?.name ?? ""));
    expect((await look()).covered).toEqual([{ first: 11, last: 31 }]);
  });

  it("are not missed by the look that removed them, nor by the next one, which need not list the backup", async () => {
    const { scene, target, older } = await setUp();
    await scene.verify(older);
    for (const { name } of (await listBackup(target.store, target.of.id)).segments)
      await utimes(path.join(scene.folder, "checkpoints", name), 0, 0);
    const options = {
      ...target,
      every: 60_000,
      clock: systemClock,
      memory: { storeClock: undefined, damaged: new Map<string, never>() },
      removal: { keep: KEEP, verifiedUpTo: async () => 11 },
    };
    const kept = { holes: [], covered: [{ first: 11, last: 31 }], logBegin: 11, exposedSince: undefined };
    const first = await lookAtBackup(options);
    expect(first).toMatchObject(kept);
    expect(first.removed).toHaveLength(2);
    expect(await lookAtBackup(options)).toMatchObject({ ...kept, removed: [] });
  });

  it.each(["a look", "a prune"])("are removed by %s from a store that is full of them", async (by) => {
    const { scene, target, older } = await setUp();
    await scene.verify(older);
    for (const { name } of (await listBackup(target.store, target.of.id)).segments)
      await utimes(path.join(scene.folder, "checkpoints", name), 0, 0);
    let isFull = true;
    const store = faultyStore(scene.store, {
      async before({ method }) {
        if (method === "remove") isFull = false;
      },
      fail: ({ method }) =>
        isFull && ["create", "replace", "upload"].includes(method)
          ? new CairnError("STORE_FULL", "Full.")
          : undefined,
    });
    const full = { ...target, store };
    if (by === "a look") {
      const memory = { storeClock: undefined, damaged: new Map<string, never>() };
      const removal = { keep: KEEP, verifiedUpTo: async () => 11 };
      const options = { ...full, every: 60_000, clock: systemClock, memory };
      expect(await lookAtBackup({ ...options, removal })).toMatchObject({
        holes: [],
        covered: [{ first: 11, last: 31 }],
      });
    } else {
      await pruneThrough(full, await planThrough(full, 10, 11, []));
    }
    expect(await runs(target)).toEqual(["11-20", "21-31"]);
    const { begins } = await listBackup(target.store, target.of.id);
    expect(begins.map(({ txId }) => txId)).toEqual([11]);
  });

  it(
    "are removed by a node that verifies its checkpoints, from which a new node then joins",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene("nats");
      const logBackup = { every: 100, keep: 1_000, codec: "none" } as const;
      const node = await scene.start("node", { verifyEvery: 200, logBackup });
      await node.ready;
      await put(node, 0, 10);
      const beginning = async (): Promise<number | undefined> =>
        (await node.status()).logBackup?.covered?.[0]?.first;
      await vi.waitFor(async () => expect(await beginning()).toBe(1), { timeout: 20_000 });
      await put(node, 10, 20);
      await saveCheckpoint(node);
      await put(node, 20, 22);
      await vi.waitFor(async () => expect(await beginning()).toBeGreaterThan(2), { timeout: 30_000 });
      const digest = await node.digest();
      const joined = await scene.start("joined");
      await joined.ready;
      await joined.await(digest.txId);
      expect(await joined.digest()).toEqual(digest);
    },
  );
});
