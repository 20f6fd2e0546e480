// @module-tag nats
import { rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { separateHistories } from "../../src/replay/other-histories.ts";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const key = (name: string) => ({ bucket: "things", namespace: "default", name });

/**
 * Writes up to transaction 14, and then loses the end of the log after transaction 6 and the index. `end` is called at
 * transaction 14.
 */
async function lostEnd(end: (node: CairnNode) => Promise<string>, parts: object = {}): Promise<string> {
  const a = await scene.ready("a");
  await put(a, 0, 5, "kept");
  await scene.stop(a);
  await scene.copyLog();
  const again = await scene.ready("a", { parts });
  expect(await put(again, 5, 13, "lost")).toBe(14);
  const name = await end(again);
  await scene.stop(again);
  await scene.rollBackLog();
  await rm(scene.dbDir("a"), { recursive: true });
  return name;
}

/** Continues the log up to transaction 10, and then loses all of it. */
async function continued(end: (node: CairnNode) => Promise<string>, parts: object = {}): Promise<string> {
  const b = await scene.ready("b", { parts });
  expect(await put(b, 50, 54, "acknowledged")).toBe(10);
  const name = await end(b);
  await scene.stop(b);
  await scene.loseLog();
  await rm(scene.dbDir("b"), { recursive: true });
  return name;
}

async function expectContinued(abandoned: string): Promise<void> {
  const planned = await done(scene, "log", "recover", "--dry-run");
  expect(planned).toContain("continues after transaction 10");
  expect(planned).toContain(`${abandoned} in`);
  const printed = await done(scene, "log", "recover");
  expect(printed).toContain("continues after transaction 10 ");
  expect(printed).toMatch(
    /is left out: it ends with transaction 14 of \S+, in another history of the lost log/,
  );
  expect(printed).toContain(`--from ${abandoned} would continue`);
  expect(printed).not.toContain("known but not in the new log");
  const c = await scene.ready("c");
  expect(await c.get(key("k53"))).toMatchObject({ json: '"acknowledged"' });
  expect(await c.get(key("k7"))).toBeUndefined();
}

it.each(["its backup", "its backup and a checkpoint"])(
  "a lost log is continued from the end of %s, although a checkpoint of a lost end reaches further",
  { tags: "rest/slow" },
  async (held) => {
    const abandoned = await lostEnd(saveCheckpoint);
    await continued(async (b) => {
      await backedUp(b, 10);
      return held === "its backup" ? "" : await saveCheckpoint(b);
    }, BACKED_UP);
    expect((await run(scene, "log", "status")).stderr).toMatch(
      /run (?:cd \S+ && )?(?:[A-Z_]+=\S+ )*cairn log recover, which begins one that continues after transaction 10;/,
    );
    const planned = JSON.parse(await done(scene, "log", "recover", "--dry-run", "--json")) as object;
    expect(planned).toMatchObject({ txId: 10, beyond: 0, others: [{ checkpoint: abandoned, txId: 14 }] });
    const at = await done(scene, "log", "recover", "--dry-run", "--at", new Date().toISOString());
    expect(at).toContain("continues after transaction 10");
    expect(at).toContain(`${abandoned} in`);
    expect(await done(scene, "log", "recover", "--dry-run", "--at-tx", "14")).toContain(abandoned);
    await expectContinued(abandoned);
  },
);

it(
  "a lost log is continued from the checkpoint of the history that continued later",
  { tags: "rest/slow" },
  async () => {
    const abandoned = await lostEnd(saveCheckpoint);
    const name = await continued(saveCheckpoint);
    expect((await run(scene, "log", "status")).stderr).toMatch(
      new RegExp(
        `checkpoint ${name} in \\S+ holds transactions up to 10[^]*run (?:cd \\S+ && )?(?:[A-Z_]+=\\S+ )*cairn log recover, which begins one that continues after transaction 10;`,
      ),
    );
    expect(await run(scene, "log", "recover", "--dry-run")).toMatchObject({ code: 0, stderr: "" });
    await expectContinued(abandoned);
  },
);

it(
  "a lost log whose backup is of a lost end, but reaches further, is continued only where it is told to",
  { tags: "rest/slow" },
  async () => {
    await lostEnd(async (a) => {
      await backedUp(a, 14);
      return "";
    }, BACKED_UP);
    const name = await continued(saveCheckpoint);
    for (const args of [[], ["--dry-run"]]) {
      expect(await run(scene, "log", "recover", ...args)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          new RegExp(
            `^CONFLICT: .* ends with transaction 14, and ${name} .*[^]*--at-tx 14, or --from ${name}`,
          ),
        ),
      });
    }
    expect(await done(scene, "log", "recover", "--dry-run", "--at-tx", "14")).toContain(
      "after transaction 14",
    );
    await done(scene, "log", "recover", "--from", name, "--yes");
    const c = await scene.ready("c");
    expect(await c.get(key("k53"))).toMatchObject({ json: '"acknowledged"' });
  },
);

/** Returns a checkpoint whose last transaction and save have these times, in seconds. */
function checkpointAt(txId: number, time: number, takenAt: number, history: string) {
  const name = `checkpoint-${txId}`;
  const sha256 = "0".repeat(64);
  return {
    name,
    store: "file:///store",
    format: { index: 1, kv: "level/1", archive: "tar/1" },
    log: { id: "log", name: "cairn", offset: 0 },
    txId,
    txTime: new Date(time * 1_000).toISOString(),
    anchor: { txId, sha256 },
    chains: [{ txId: 8, history, effects: sha256 }],
    purged: txId,
    takenAt: new Date(takenAt * 1_000).toISOString(),
    durationMs: 1,
    node: "a",
    archive: { name: `${name}.tar`, bytes: 1 },
    fileCount: 1,
    documents: 1,
    version: "1.0.0",
    sha256,
    verified: false,
    damaged: false,
  };
}

it("of two checkpoints whose chains differ, the one that was saved later may have continued, whatever the log's clock says", async () => {
  const further = checkpointAt(14, 100, 100, "a".repeat(64));
  const savedLater = checkpointAt(10, 50, 200, "b".repeat(64));
  expect(await separateHistories([further, savedLater], undefined)).toMatchObject({
    latest: { txId: 14 },
    others: [{ checkpoint: "checkpoint-10", isLater: true }],
  });
  const savedBySlowNode = { ...savedLater, chains: further.chains };
  expect((await separateHistories([further, savedBySlowNode], undefined)).others).toEqual([]);
});
