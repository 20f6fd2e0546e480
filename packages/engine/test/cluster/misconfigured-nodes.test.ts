// @module-tag nats
import type { CairnNode } from "@cairn/engine";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ClusterScene } from "@cairn/test-support/nodes/cluster-scene";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

async function found(node: CairnNode): Promise<readonly string[]> {
  return (await node.status()).findings.map(({ code, message }) => `${code}: ${message}`);
}

it("two processes with the same id both report it, until one of them stops", async () => {
  const [a, second] = await Promise.all([
    scene.ready("a", { compareEveryMs: 50 }),
    scene.ready("a", { compareEveryMs: 50, place: "another-a" }),
  ]);
  for (const node of [a, second]) {
    await vi.waitFor(async () =>
      expect(await found(node)).toEqual(["same-node-id: Another process uses this node's id, a."]),
    );
  }
  expect((await second.cluster()).findings).toMatchObject([
    { code: "same-node-id", node: null, message: expect.stringMatching(/^a is the id of 2 nodes, on /) },
  ]);
  await scene.stop(a);
  await vi.waitFor(async () => expect(await found(second)).toEqual([]));
});
