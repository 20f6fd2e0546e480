// @module-tag nats
import { readdir } from "node:fs/promises";
import path from "node:path";
import type { CairnError } from "@cairn/kv";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { LogBackup } from "../../../src/backup/write/log-backup.ts";
import { put, type TrimScene, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { backupTarget, damageSegment, writeRuns } from "@cairn/test-support/nodes/trimmed-backup";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const NEVER = new AbortController().signal;

interface Findings {
  readonly scene: TrimScene;
  readonly backup: LogBackup;
  readonly found: CairnError[];
  readonly damage: (first: number) => Promise<string>;
}

/** Writes a log of 31 messages in three segments. */
async function setUp(): Promise<Findings> {
  const scene = await trimScene("embedded");
  await twoCheckpoints(scene);
  const log = await scene.openLog();
  const target = await backupTarget(scene, log);
  await writeRuns(target, 1, 6, 11, 32);
  const found: CairnError[] = [];
  const backup = new LogBackup({
    ...target,
    options: { every: 50, keep: "all", codec: "none" },
    verifiedUpTo: () => Promise.resolve(undefined),
    onFinding: (error) => found.push(error),
  });
  onTestFinished(async () => {
    await backup.stop();
    await log.close();
  });
  return { scene, backup, found, damage: (first) => damageSegment(scene, target, first) };
}

describe("a log backup", () => {
  it("reports each damaged segment once when all segments are read, and no longer after its removal", async () => {
    const { scene, backup, found, damage } = await setUp();
    const name = await damage(11);
    await backup.readAll(NEVER);
    await backup.readAll(NEVER);
    expect(found.map(({ code }) => code)).toEqual(["SEGMENT_CORRUPT"]);
    expect(backup.status(31).warnings).toMatchObject([
      { code: "SEGMENT_CORRUPT", message: expect.stringContaining(name) },
    ]);
    await scene.store.remove(name);
    await backup.readAll(NEVER);
    expect(backup.status(31).warnings).toEqual([]);
  });

  it("reads each segment once", async () => {
    const { backup, found, damage } = await setUp();
    await backup.readAll(NEVER);
    await damage(6);
    await backup.readAll(NEVER);
    expect([found, backup.status(31).warnings]).toEqual([[], []]);
  });

  it(
    "is read in a restore drill, which reports a damaged segment in the node's status",
    { tags: "rest/slow" },
    async () => {
      const scene = await trimScene("nats");
      const logBackup = { every: 100, keep: "all", codec: "none" } as const;
      const node = await scene.start("node", { verifyEvery: 300, logBackup });
      await node.ready;
      await put(node, 0, 5);
      const segments = async (): Promise<string[]> => {
        const files = await readdir(path.join(scene.folder, "checkpoints"), { recursive: true });
        return files.filter((file) => file.endsWith(".segment"));
      };
      await vi.waitFor(async () => expect(await segments()).not.toEqual([]), { timeout: 20_000 });
      const log = await scene.openLog();
      onTestFinished(() => log.close());
      const name = await damageSegment(scene, await backupTarget(scene, log), 1);
      // The first drill needs a checkpoint.
      await saveCheckpoint(node);
      const warnings = async (): Promise<unknown> => (await node.status()).logBackup?.warnings;
      await vi.waitFor(
        async () =>
          expect(await warnings()).toMatchObject([
            { code: "SEGMENT_CORRUPT", message: expect.stringContaining(name) },
          ]),
        { timeout: 20_000 },
      );
    },
  );
});
