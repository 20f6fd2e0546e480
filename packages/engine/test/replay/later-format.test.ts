// @module-tag nats
import { expect, onTestFinished, test, vi } from "vitest";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import type { CairnNode } from "../../src/node/node.ts";
import { framed } from "../transactions/framed.ts";

async function openScene(): Promise<ClusterScene> {
  const scene = await ClusterScene.open();
  onTestFinished(() => scene.close());
  return scene;
}

async function publish(scene: ClusterScene, message: Uint8Array): Promise<void> {
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.publish(message));
}

async function stopped(node: CairnNode): Promise<void> {
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  expect((await node.status()).failure).toMatchObject({ code: "LOG_VERSION", hint: /^Upgrade this node/ });
  await expect(node.list({ bucket: "things" })).rejects.toMatchObject({ code: "NOT_READY" });
}

test("a node stops before a message of a later format, also when it starts again, and its index stays", async () => {
  const scene = await openScene();
  const node = await scene.ready("a");
  const last = await put(node, 0, 5, "v");
  await publish(scene, framed("?", { logId: (await node.status()).log.id ?? "", format: 2 }));
  await stopped(node);
  await node.close();
  const again = await scene.start("a");
  await stopped(again);
  expect((await again.status()).index.txId).toBe(last);
  expect((await again.status()).join.movedAside).toEqual([]);
});

test("a node names the version of a log that a later version began, and does not ask to delete it", async () => {
  const scene = await openScene();
  const birth = Buffer.from(framed('{"birth":2}', { logId: "later", format: 2 })).toString();
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.makeForeignStream([birth]));
  const node = await scene.start("b");
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  const { failure } = await node.status();
  expect(failure).toMatchObject({
    code: "LOG_VERSION",
    message: /first message/,
    hint: /^Upgrade this node/,
  });
});
