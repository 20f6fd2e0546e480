// @module-tag rest/slow
// @module-tag nats
import { LogFold } from "@cairn/engine/testing";
import { NatsOperator, type NatsTestCluster, startNatsCluster } from "@cairn/log-nats/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { expectFoldOf, FaultScene } from "@cairn/test-support/fault-scene";
import { RetryingSubmitters } from "@cairn/test-support/retrying-submitters";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";

const LOSSES = soakRounds(2);
const SUBMISSIONS_BETWEEN = 200;

let cluster: NatsTestCluster;
let scene: FaultScene;
beforeEach(async () => {
  cluster = await startNatsCluster();
  scene = await FaultScene.open();
});
afterEach(async () => {
  await scene.close();
  await cluster.close();
});

/** Submits to a cluster through two nodes while `lose` takes servers away, and compares everything with the stream. */
async function submitWhile(lose: (clients: RetryingSubmitters) => Promise<void>): Promise<void> {
  const servers = { servers: cluster.urls, replicas: 3 };
  const nodes = [await scene.ready("a", servers), await scene.ready("b", servers)];
  const clients = new RetryingSubmitters(nodes, 20);
  await lose(clients);
  await clients.waitForMore(SUBMISSIONS_BETWEEN);
  await clients.finish();

  const { url } = await cluster.leader("cairn");
  const fold = async (): Promise<LogFold> =>
    await NatsOperator.at(url, async (operator) => await LogFold.of(operator.messages()));
  const folded = await fold();
  for (const [id, txId] of clients.acknowledged) expect([id, folded.transactionOf(id)]).toEqual([id, txId]);
  const expected = new Set([1, ...clients.acknowledged.values(), ...folded.barriers]);
  expect(expected.size).toBe(1 + clients.acknowledged.size + folded.barriers.size);
  const all = Array.from({ length: folded.txId }, (_, before) => before + 1);
  const others = all.filter((txId) => !expected.has(txId)).map((txId) => [txId, folded.outcome(txId)]);
  expect(others).toEqual([]);
  for (const node of nodes) {
    await expectFoldOf({ fold }, node);
    expect((await node.status()).join.movedAside).toEqual([]);
  }
}

it("a cluster of three servers neither loses nor duplicates a transaction", async () => {
  await submitWhile(async () => {});
});

it(
  `a cluster of three servers that loses its leader ${LOSSES} times neither loses nor duplicates a transaction, and no node sees a different history`,
  { tags: "rest/campaign", timeout: soakTimeout(LOSSES, 30_000) },
  async () => {
    await submitWhile(async (clients) => {
      for (let loss = 0; loss < LOSSES; loss += 1) {
        await clients.waitForMore(SUBMISSIONS_BETWEEN);
        const leader = await cluster.leader("cairn");
        await leader.kill();
        // The other two continue under a new leader.
        await clients.waitForMore(SUBMISSIONS_BETWEEN);
        await leader.start();
      }
    });
  },
);
