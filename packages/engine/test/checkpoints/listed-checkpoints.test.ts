// @module-tag nats
import path from "node:path";
import { filesystemStore, markDamaged } from "@cairn/checkpoint";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const HOUR = 3_600_000;

async function save(node: CairnNode, n: number): Promise<string> {
  await put(node, n, n + 1, "x");
  const result = await node.checkpoint().done;
  if (!("checkpoint" in result)) throw new Error(result.skipped);
  return result.checkpoint.name;
}

it(
  "checkpoints are listed with how long they took, who verified them, and why they are kept",
  { tags: "rest/slow" },
  async () => {
    const { checkpointer } = quietSystem({
      folder: scene.folder,
      nodeId: "a",
      openTxLog: () => Promise.reject(new Error("unused")),
      checkpointer: { retentionPolicy: { retainAtLeast: 1, retainNewerThan: HOUR } },
    });
    const a = await scene.ready("a", { parts: { checkpointer } });
    const [oldest, middle, newest] = [await save(a, 0), await save(a, 1), await save(a, 2)];
    const verified = await a.verifyCheckpoint(middle);
    await markDamaged(filesystemStore({ path: path.join(scene.folder, "checkpoints") }), [oldest], "b");
    const listed = await a.checkpoints();
    const young = { keep: true, because: expect.stringMatching(/^it is \S+ m?s old, younger than 1 h$/) };
    expect(listed).toMatchObject([
      {
        name: newest,
        verifiedAt: null,
        verifiedBy: null,
        kept: { keep: true, because: "it is one of the newest 1" },
      },
      {
        name: middle,
        verifiedAt: verified.verifiedAt,
        verifiedBy: "a",
        kept: { keep: true, because: "it is the newest that was verified" },
      },
      { name: oldest, damaged: true, verifiedBy: null, kept: young },
    ]);
    for (const { durationMs } of listed) expect(durationMs).toBeGreaterThan(0);

    // A command that is given only a folder knows neither the log nor the policy.
    const terminal = new CapturedTerminal({ cwd: scene.folder });
    const { stdout } = await cairn(["checkpoint", "list", "./checkpoints", "--json"], terminal);
    const inFolder = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(inFolder).toEqual(listed.map((one) => ({ ...one, kept: null })));
  },
);

it("a checkpoint that the next sweep removes is listed as such", { tags: "rest/slow" }, async () => {
  const { checkpointer } = quietSystem({
    folder: scene.folder,
    nodeId: "a",
    openTxLog: () => Promise.reject(new Error("unused")),
  });
  const a = await scene.ready("a", { parts: { checkpointer } });
  await save(a, 0);
  await save(a, 1);
  await scene.stop(a);
  if (checkpointer === undefined) throw new Error("there is no checkpointer");
  const strict = { ...checkpointer, retentionPolicy: { retainAtLeast: 1 } };
  const again = await scene.ready("a", { parts: { checkpointer: strict } });
  expect((await again.checkpoints()).map(({ kept }) => kept)).toEqual([
    { keep: true, because: "it is one of the newest 1" },
    { keep: false, because: "it is not one of the newest 1" },
  ]);
});
