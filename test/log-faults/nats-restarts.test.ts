// @module-tag nats
import { expect, it } from "vitest";
import { expectFoldOf, FaultScene } from "@cairn/test-support/fault-scene";
import { RetryingSubmitters } from "@cairn/test-support/retrying-submitters";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";

const RESTARTS = soakRounds(10);
const CLIENTS = 40;
const SUBMISSIONS_BETWEEN = 300;

async function killUnderLoad(restarts: number): Promise<void> {
  const scene = await FaultScene.open();
  try {
    const nodes = [await scene.ready("a"), await scene.ready("b")];
    const clients = new RetryingSubmitters(nodes, CLIENTS);
    for (let restart = 0; restart < restarts; restart += 1) {
      await clients.waitForMore(SUBMISSIONS_BETWEEN);
      await scene.nats.kill();
      await scene.nats.start();
    }
    await clients.waitForMore(SUBMISSIONS_BETWEEN);
    await clients.finish();

    const fold = await scene.fold();
    for (const [id, txId] of clients.acknowledged) expect([id, fold.transactionOf(id)]).toEqual([id, txId]);
    for (const node of nodes) {
      await expectFoldOf(scene, node);
      expect((await node.status()).join.movedAside).toEqual([]);
    }
    // The log contains only the birth record and the acknowledged messages, each once.
    expect(fold.txId).toBe(clients.acknowledged.size + 1);
    const fresh = await scene.ready("fresh");
    await expectFoldOf(scene, fresh);
  } finally {
    await scene.close();
  }
}

it(
  "a server that is killed under load loses no acknowledged transaction and stores none twice",
  { tags: "rest/slow" },
  async () => {
    await killUnderLoad(1);
  },
);

it(
  `a server that is killed ${RESTARTS} times under load loses no acknowledged transaction and stores none twice`,
  { tags: "rest/campaign", timeout: soakTimeout(RESTARTS, 15_000) },
  async () => {
    await killUnderLoad(RESTARTS);
  },
);
