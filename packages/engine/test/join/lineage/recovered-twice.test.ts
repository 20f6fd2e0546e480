// @module-tag nats
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { BACKED_UP, backedUp, done } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";

beforeEach(() => hurryClock());

/** Loses the log and continues it, twice: from the index of the stopped node "a", the first time as `options` say. */
async function continueTwice(scene: ClusterScene, ...options: string[]): Promise<void> {
  const fromIndex = ["--from", scene.dbDir("a")];
  for (const args of [options.length > 0 ? options : fromIndex, fromIndex]) {
    await scene.loseLog();
    await done(scene, "log", "recover", ...args);
    const a = await scene.ready("a");
    await put(a, 5, 8, "later");
    await scene.stop(a);
  }
}

async function opened(): Promise<ClusterScene> {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  return scene;
}

describe("a node that was stopped while the log was continued twice, without a backup of the second log", () => {
  it.each([
    ["at the end of the first log", 0, {}],
    ["before it", 2, {}],
    // The third log replaces the first one, of which it has everything.
    ["at the end of the first log, which has a backup", 0, BACKED_UP],
  ])("joins from a checkpoint with an index that ended %s", { tags: "rest/slow" }, async (_, more, parts) => {
    const scene = await opened();
    const [a, b] = [await scene.ready("a", { parts }), await scene.ready("b")];
    const last = await put(a, 0, 3, "first");
    await b.await(last);
    if ("logBackup" in parts) await backedUp(a, last);
    await scene.stop(b);
    if (more > 0) await put(a, 3, 3 + more, "first");
    await scene.stop(a);
    await continueTwice(scene);
    const [after, back] = [await scene.ready("a"), await scene.ready("b")];
    expect(await back.digest()).toEqual(await after.digest());
    expect((await back.status()).join).toMatchObject({ movedAside: [{ code: "LOG_TRIMMED" }], orphans: 0 });
  });

  it(
    "reports what only its index has, which the first recovery had left behind",
    { tags: "rest/slow" },
    async () => {
      const scene = await opened();
      const a = await scene.ready("a");
      await put(a, 0, 3, "first");
      const seam = await saveCheckpoint(a);
      const b = await scene.ready("b");
      await b.await(await put(a, 3, 5, "left behind"));
      await Promise.all([scene.stop(a), scene.stop(b)]);
      await continueTwice(scene, "--from", seam, "--yes");
      const back = await scene.ready("b");
      expect((await back.status()).join).toMatchObject({
        movedAside: [{ code: "LOG_REGRESSED" }],
        orphans: 2,
      });
    },
  );

  it(
    "says how it can continue if its stores have no checkpoint of the log",
    { tags: "rest/slow" },
    async () => {
      const scene = await opened();
      const store = filesystemStore({ path: path.join(scene.folder, "other") });
      const [a, b] = [await scene.ready("a"), await scene.ready("b", { store })];
      await b.await(await put(a, 0, 3, "first"));
      await Promise.all([scene.stop(a), scene.stop(b)]);
      await continueTwice(scene);
      const failed = await scene.start("b", { store });
      await vi.waitFor(() => expect(failed.phase).toBe("failed"), { timeout: 30_000 });
      expect((await failed.status()).failure).toMatchObject({
        code: "LOG_DIFFERENT",
        hint: expect.stringMatching(
          /save a checkpoint in one of them on a ready node .*, and restart this node/,
        ),
      });
      await saveCheckpoint(await scene.ready("a", { store }));
      await scene.stop(failed);
      const back = await scene.ready("b", { store });
      expect((await back.status()).join).toMatchObject({ movedAside: [{ code: "LOG_TRIMMED" }], orphans: 0 });
    },
  );
});
