// @module-tag nats
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import type { CairnNode } from "@cairn/engine";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

/** Returns a node's findings, without the names of checkpoints and of the scene's folder. */
async function found(node: CairnNode): Promise<readonly string[]> {
  return (await node.status()).findings.map(({ code, message }) =>
    `${code}: ${message}`.replaceAll(/ checkpoint-\S+/g, "").replaceAll(scene.folder, ""),
  );
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

/** Returns a node that saves into the first of these folders, and restores from all of them. */
async function saving(id: string, folders: readonly string[], shared = true): Promise<CairnNode> {
  const stores = folders.map((folder) => filesystemStore({ path: path.join(scene.folder, folder), shared }));
  const [store] = stores;
  return await scene.ready(id, {
    checkpointer: { ...(store && { store }), restoreFrom: stores, approxFrequency: 100 },
  });
}

function differs(own: string, others: string): string {
  return `stores-differ: This node's store, file:///${own}, lacks what other nodes find in theirs: ${others}.`;
}

/** Makes each node write, and look at its store. */
async function lookInTurn(nodes: readonly CairnNode[]): Promise<void> {
  for (const node of nodes) {
    await put(node, 0, 1, "x");
    await node.checkpoint().done;
  }
}

/** Makes the nodes look in turn until their findings are as expected. */
async function lookUntil(
  nodes: readonly CairnNode[],
  expected: readonly (readonly string[])[],
): Promise<void> {
  await vi.waitFor(
    async () => {
      await lookInTurn(nodes);
      expect(await Promise.all(nodes.map(found))).toEqual(expected);
    },
    { timeout: 30_000 },
  );
}

it(
  "nodes with different shared stores report each other, until they have the same one",
  { tags: "rest/slow" },
  async () => {
    const [a, b, c] = [
      await saving("a", ["right"]),
      await saving("b", ["right"]),
      await saving("c", ["wrong"]),
    ];
    await lookUntil(
      [a, b, c],
      [
        [differs("right", "c found in file:///wrong")],
        // When it looks, its store has a newer checkpoint than the other one.
        [],
        [differs("wrong", "a found in file:///right, b found in file:///right")],
      ],
    );
    await scene.stop(c);
    await lookUntil([a, b, await saving("c", ["right"])], [[], [], []]);
  },
);

it(
  "nodes whose folders are not declared as shared may each have their own",
  { tags: "rest/slow" },
  async () => {
    const [a, b] = [await saving("a", ["one"], false), await saving("b", ["two"])];
    // Only b says that all nodes have its folder.
    await lookUntil([a, b], [[], [differs("two", "a found in file:///one")]]);
    for (let turn = 0; turn < 10; turn += 1) await lookInTurn([a, b]);
    expect(await found(a)).toEqual([]);
  },
);

it(
  "a node that was forgotten when the store was moved is reported once the others have left the old one",
  { tags: "rest/slow" },
  async () => {
    const [a, forgotten] = [await saving("a", ["old"]), await saving("b", ["old"])];
    await lookInTurn([a, forgotten]);
    await scene.stop(a);
    const moving = await saving("a", ["new", "old"]);
    const stranger = await saving("c", ["strange"]);
    // As soon as the stranger is found, so would be those that move.
    await lookUntil(
      [moving, forgotten, stranger],
      [
        [differs("new", "c found in file:///strange")],
        expect.anything(),
        [differs("strange", "a found in file:///new, b found in file:///old")],
      ],
    );
    expect((await found(forgotten)).join()).not.toContain("file:///new");
    await scene.stop(stranger);
    await scene.stop(moving);
    const moved = await saving("a", ["new"]);
    await lookUntil(
      [moved, forgotten],
      [[differs("new", "b found in file:///old")], [differs("old", "a found in file:///new")]],
    );
  },
);
