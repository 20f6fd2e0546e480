// @module-tag nats
import { cp, rm } from "node:fs/promises";
import path from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  expectFoldOf,
  FaultScene,
  put,
  waitForRebuild,
  saveCheckpoint,
  values,
} from "@cairn/test-support/fault-scene";

/**
 * Writes one transaction for each document. The last one is the same in both histories, including its idempotency id.
 */
async function write(node: CairnNode, documents: Readonly<Record<string, unknown>>): Promise<void> {
  for (const [name, document] of [...Object.entries(documents), ["heartbeat", { ok: true }] as const]) {
    const ops = [["put", "things", `default/${name}`, document as string]] as const;
    const { txId } = await node.submit({ ops, ...(name === "heartbeat" ? { id: "beat-1" } : {}) });
    await node.await(txId);
  }
}

const LOST = { account: { balance: 100 }, "only-lost": 1 };
const NEW = { account: { balance: 5 }, "never-seen": 2 };

describe("a different history that ends at the same position with the same transaction", () => {
  let scene: FaultScene;
  let a: CairnNode;
  beforeEach(async () => {
    scene = await FaultScene.open();
    a = await scene.ready("a");
    await put(a, 0, 2, "kept");
    await scene.copyStore();
    await write(a, LOST);
  });
  afterEach(async () => await scene.close());

  /** Makes the server lose the end of the log, and makes another node write a different one. */
  async function forkHistory(): Promise<void> {
    await scene.stopAndRestoreStore();
    await scene.nats.start();
    await write(await scene.ready("b", { checkpoints: "checkpoints-of-b" }), NEW);
  }

  async function expectNew(node: CairnNode): Promise<void> {
    await expectFoldOf(scene, node);
    const found = await values(node);
    expect(found).toMatchObject(NEW);
    expect(Object.keys(found)).not.toContain("only-lost");
  }

  it("is detected by a node that was down in the meantime", { tags: "rest/slow" }, async () => {
    await a.close();
    await forkHistory();
    const again = await scene.ready("a");
    expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
    await expectNew(again);
  });

  it("is detected by a running node", { tags: "rest/slow" }, async () => {
    await forkHistory();
    await waitForRebuild(a, "LOG_REGRESSED");
    await expectNew(a);
  });

  it("is never joined by restoring a checkpoint of the lost history", async () => {
    await saveCheckpoint(a);
    await a.close();
    await forkHistory();
    const joined = await scene.ready("joined");
    const { skipped, restoredFrom } = (await joined.status()).join;
    expect(skipped).toMatchObject([{ code: "LOG_REGRESSED" }]);
    // The node's own first look may have saved a checkpoint before the histories diverged.
    expect(restoredFrom?.txId ?? 0).toBeLessThanOrEqual(3);
    await expectNew(joined);
  });
});

describe("two copies of a node with an embedded log and a shared checkpoint store", () => {
  let scene: FaultScene;
  const nodes: CairnNode[] = [];
  beforeEach(async () => {
    scene = await FaultScene.open();
  });
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.close()));
    await scene.close();
  });

  async function start(id: string): Promise<CairnNode> {
    const store = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: path.join(scene.folder, "shared"),
    };
    const node = await startNode(
      {
        "cairn/node": { id: "twin", dir: path.join(scene.folder, id) },
        "cairn/http-server": null,
        "cairn/index-store": {
          "kv-store": {
            "cairn/module": "cairn.leveldb/->kv-store",
            checkpointer: {
              "cairn/module": "cairn.checkpoint/->checkpointer",
              store,
              "approx-frequency": "PT6H",
            },
          },
        },
      },
      { env: {} },
    );
    nodes.push(node);
    await node.ready;
    return node;
  }

  it("never restore each other's checkpoints, even if both logs end with the same transaction", async () => {
    const original = await start("one");
    await put(original, 0, 2, "kept");
    await original.close();
    await cp(path.join(scene.folder, "one"), path.join(scene.folder, "two"), { recursive: true });
    const one = await start("one");
    await write(one, LOST);
    await saveCheckpoint(one);
    const two = await start("two");
    await write(two, NEW);
    await two.close();

    await rm(path.join(scene.folder, "two", "twin-index"), { recursive: true });
    const again = await start("two");
    const { skipped, restoredFrom } = (await again.status()).join;
    expect(skipped).toMatchObject([{ code: "LOG_REGRESSED" }]);
    expect(restoredFrom).toBeNull();
    expect(await values(again)).toMatchObject(NEW);
    expect(Object.keys(await values(again))).not.toContain("only-lost");
  });
});
