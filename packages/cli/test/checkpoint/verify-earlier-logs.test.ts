// @module-tag nats
import { rm, truncate } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CairnNode } from "@cairn/engine";
import { backupFolder, listBackup, listBackups } from "@cairn/engine/src/backup/segments/segment-name";
import { filesystemStore } from "@cairn/checkpoint";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

describe("checkpoint verify after a recovery", () => {
  let scene: ClusterScene;
  let earlier = "";
  beforeEach(async () => {
    scene = await ClusterScene.open();
    const before = await scene.ready("a", { parts: BACKED_UP });
    await put(before, 0, 5, "first");
    earlier = await saveCheckpoint(before);
    await backedUp(before, await put(before, 5, 10, "second"));
    await scene.stop(before);
    await scene.loseLog();
    await done(scene, "log", "recover");
  });
  afterEach(() => scene.close());

  const folder = (): string => path.join(scene.folder, "checkpoints");
  /** Returns the names of the checkpoints that a node can use, newest first. */
  const listed = async (): Promise<string[]> =>
    (await done(scene, "checkpoint", "list", "-j", "{}", "--json"))
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { name: string }).name);
  const restarted = async (): Promise<CairnNode> => await scene.ready("a", { parts: BACKED_UP });

  it(
    "verifies each checkpoint that checkpoint list shows, and the seam's while the new log has none",
    { tags: "rest/slow" },
    async () => {
      const [seam = "", ...older] = await listed();
      expect(older).toEqual([earlier]);
      for (const name of [seam, earlier])
        expect(await done(scene, "checkpoint", "verify", name, "-j", "{}")).toMatch(
          new RegExp(`^${name} is intact .*; it agrees with the log; marked as verified\n$`),
        );
      const node = await restarted();
      await backedUp(node, await put(node, 10, 15, "third"));
      expect(await done(scene, "checkpoint", "verify", "-j", "{}")).toContain(`${seam} is intact`);
      expect(await node.verifyCheckpoint(earlier)).toMatchObject({ name: earlier });
    },
  );

  it(
    "says so if no backup holds the end of an earlier log's checkpoint any more",
    { tags: "rest/slow" },
    async () => {
      const store = filesystemStore({ path: folder() });
      for (const id of await listBackups(store)) {
        expect((await listBackup(store, id)).segments).not.toEqual([]);
        await rm(path.join(folder(), backupFolder(id)), { recursive: true });
      }
      expect(await done(scene, "checkpoint", "verify", earlier, "-j", "{}")).toMatch(
        /; it was not compared with the log, which begins after it; marked as verified\n$/,
      );
    },
  );

  it("refuses a checkpoint of what the new log left behind", { tags: "rest/slow" }, async () => {
    const node = await restarted();
    const txId = await put(node, 10, 15, "third");
    const name = await saveCheckpoint(node);
    await backedUp(node, txId);
    await scene.stop(node);
    await scene.loseLog();
    await done(scene, "log", "recover", "--at-tx", `${txId - 3}`, "--yes");
    const refused = await run(scene, "checkpoint", "verify", name, "-j", "{}");
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(/^LOG_DIFFERENT: /) });
  });

  it(
    "names the new log's newest checkpoint if it cannot be used, and verifies the seam's",
    { tags: "rest/slow" },
    async () => {
      const [seam = ""] = await listed();
      const node = await restarted();
      await backedUp(node, await put(node, 10, 15, "third"));
      const name = await saveCheckpoint(node);
      await truncate(path.join(folder(), `${name}.tar`), 1_000);
      const { code, stdout, stderr } = await run(scene, "checkpoint", "verify", "-j", "{}");
      expect([code, stdout]).toEqual([1, expect.stringContaining(`${seam} is intact`)]);
      expect(stderr).toContain(`${name} cannot be used`);
    },
  );
});
