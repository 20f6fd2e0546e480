// @module-tag nats
import { rm } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { SegmentReads } from "../../src/backup/write/segment-reads.ts";
import { listBackup } from "../../src/backup/segments/segment-name.ts";
import type { BackupTarget } from "../../src/backup/write/write-segments.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { planTrim, trimLog, type TrimPlan } from "../../src/upkeep/plan-trim.ts";
import { bytes } from "../../testing/log-messages.ts";
import {
  put,
  type TrimScene,
  trimOptions,
  trimScene,
  twoCheckpoints,
} from "@cairn/test-support/nodes/trim-scene";
import {
  backupTarget,
  damageSegment,
  ofOtherVersion,
  writeRuns,
} from "@cairn/test-support/nodes/trimmed-backup";
import { wrapped } from "@cairn/text";

interface Backed {
  readonly scene: TrimScene;
  readonly log: TxLog;
  readonly target: BackupTarget;
  readonly plan: () => Promise<TrimPlan>;
}

/** Writes a log of 31 messages with checkpoints at 11 and 21, none verified, and segments with those bounds. */
async function setUp(bounds: readonly number[], shared = true): Promise<Backed> {
  const scene = await trimScene("embedded", shared);
  await twoCheckpoints(scene);
  const log = await scene.openLog();
  onTestFinished(() => log.close());
  const target = await backupTarget(scene, log);
  await writeRuns(target, ...bounds);
  return { scene, log, target, plan: () => planTrim(trimOptions(scene, log)) };
}

describe("a log with a backup", () => {
  it("is trimmed up to the backup's end without a checkpoint, and an index of another version is built from both", async () => {
    const { scene, log } = await setUp([1, 6, 11, 32]);
    await ofOtherVersion(scene);
    const plan = await trimLog(trimOptions(scene, log));
    expect(plan).toMatchObject({
      first: 1,
      upTo: 31,
      checkpoint: null,
      backup: { store: scene.store.location },
    });
    expect(plan.because).toBe(`Message 31 is the last one in the log backup in ${scene.store.location}.`);
    expect(await log.bounds()).toEqual({ first: 31, last: 31 });
    await log.close();
    const joined = await scene.start("joined");
    await joined.ready;
    const { join, index } = await joined.status();
    expect(join).toMatchObject({ restoredFrom: null, replayed: 31 });
    expect(index).toMatchObject({ txId: 31, documents: 30 });
  });

  it("is trimmed up to a hole in the backup, a damaged segment, or the first transaction at which log and backup differ", async () => {
    const { scene, target, log, plan } = await setUp([1, 6, 11, 32]);
    const name = await damageSegment(scene, target, 6);
    const damaged = await plan();
    expect(damaged).toMatchObject({ upTo: 5 });
    expect(damaged.because).toContain("No intact segment holds transaction 6.");
    await rm(path.join(scene.folder, "checkpoints", name));
    expect(await plan()).toMatchObject({ upTo: 5 });
    const differing = wrapped<TxLog>(log, {
      fetch: async (at) => {
        const message = await log.fetch(at);
        return at === 5 && message !== undefined ? { ...message, payload: bytes("other") } : message;
      },
    });
    const other = await planTrim(trimOptions(scene, differing));
    expect(other).toMatchObject({ upTo: 1, backup: null });
    expect(other.because).toContain("Transaction 5 differs between the log and ");
  });

  it("is trimmed up to the backup's end although another node trims it meanwhile", async () => {
    const { scene, log } = await setUp([1, 6, 11, 32]);
    const trimmed = wrapped<TxLog>(log, {
      fetch: async (at) => {
        if (at === 5) await log.trim?.(8);
        return await log.fetch(at);
      },
    });
    const plan = await planTrim(trimOptions(scene, trimmed));
    expect(plan.because).toBe(`Message 31 is the last one in the log backup in ${scene.store.location}.`);
  });

  it("is trimmed up to the end of a backup with a later beginning only if the backup continues a verified checkpoint", async () => {
    const { scene, log, plan } = await setUp([11, 32]);
    expect(await plan()).toMatchObject({ upTo: 1 });
    const [, older = ""] = await scene.checkpoints();
    await scene.verify(older);
    expect(await trimLog(trimOptions(scene, log))).toMatchObject({ upTo: 11, checkpoint: { name: older } });
    expect(await plan()).toMatchObject({ upTo: 31, checkpoint: null });
    await rm(path.join(scene.folder, "checkpoints", `${older}.verified.json`));
    expect(await plan()).toMatchObject({ upTo: 11 });
  });

  it("is not trimmed if its store is not known to be shared", async () => {
    const { plan } = await setUp([1, 32], false);
    expect(await plan()).toMatchObject({ upTo: 1, because: expect.stringContaining("shared-store") });
  });

  it("is trimmed after only the segments of the trimmed range were read, each of them once", async () => {
    const { scene, log, target } = await setUp([1, 6, 11, 32]);
    const young = Date.now() + 60_000;
    const reads = new SegmentReads();
    const options = { ...trimOptions(scene, log), reads, now: () => young };
    const kept = await planTrim({ ...options, keep: 3_600_000 });
    expect(kept).toMatchObject({ upTo: 1, because: expect.stringContaining("younger than PT1H") });
    const { segments } = await listBackup(target.store, target.of.id);
    expect(segments.map((one) => reads.knows(target.store, one))).toEqual([false, false, false]);
    await planTrim(options);
    expect(segments.map((one) => reads.knows(target.store, one))).toEqual([true, true, true]);
    await damageSegment(scene, target, 6);
    expect(await planTrim(options)).toMatchObject({ upTo: 31 });
  });

  it(
    "is trimmed by a node within a second of its backup, and another node can still join",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene("nats");
      const logBackup = { every: 100, keep: "all", codec: "gzip" } as const;
      const node = await scene.start("node", { logBackup, trim: { keep: 1 } });
      await node.ready;
      await put(node, 0, 20);
      const first = async (): Promise<number | null> => (await node.status()).log.firstTxId;
      await vi.waitFor(async () => expect(await first()).toBeGreaterThan(15), { timeout: 20_000 });
      const digest = await node.digest();
      const joined = await scene.start("joined");
      await joined.ready;
      await joined.await(digest.txId);
      expect(await joined.digest()).toEqual(digest);
      expect((await joined.status()).join.restoredFrom).toBeNull();
    },
  );
});
