// @module-tag nats
import { expect, it } from "vitest";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { runNode } from "@cairn/node";
import { trimScene } from "@cairn/test-support/nodes/trim-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

async function put(node: Awaited<ReturnType<typeof runNode>>, n: number): Promise<void> {
  for (let at = 0; at < n; at += 1) {
    const { txId } = await node.submit({ ops: [["put", "pods", `default/${at}`, at]] });
    await node.await(txId);
  }
}

it.each(["embedded", "nats"] as const)(
  "an overview of a log (%s) plans what a trim removes",
  { tags: "rest/slow" },
  async (kind) => {
    const scene = await trimScene(kind);
    const node = await scene.start("a");
    await node.ready;
    await put(node, 3);
    await saveCheckpoint(node);
    const before = await node.log();
    expect(before).toMatchObject({
      firstTxId: 1,
      lastTxId: 4,
      trim: { automatic: false, upTo: null, checkpoint: null },
    });
    expect(before.location).not.toBeNull();
    // The store is not read again within 30 seconds.
    const [name = ""] = await scene.checkpoints();
    await scene.verify(name);
    expect((await node.log()).trim).toEqual(before.trim);
    await node.close();

    const trimming = await scene.start("a", { trim: { keep: 3_600_000_000 } });
    await trimming.ready;
    expect((await trimming.log()).trim).toMatchObject({ automatic: true, upTo: null, checkpoint: null });
    await trimming.close();
    const again = await scene.start("a");
    await again.ready;
    expect((await again.log()).trim).toEqual({
      automatic: false,
      upTo: 3,
      because: expect.stringContaining(`Message 4 is the last one in ${name}`) as string,
      checkpoint: name,
    });
  },
);

it("a node without a checkpointer plans nothing", async () => {
  const scene = await trimScene("embedded");
  const system = quietSystem({ folder: scene.folder, nodeId: "b", openTxLog: scene.openLog });
  const node = await runNode({ ...system, checkpointer: undefined });
  await node.ready;
  expect(await node.log()).toMatchObject({ firstTxId: 1, trim: null });
  await node.close();
});
