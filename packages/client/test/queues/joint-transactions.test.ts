import type { QueueAccess } from "@cairn/client/protocol";
import { queueAccess } from "@cairn/client/protocol";
import { DirectorScene, OPEN, sharedNode } from "@cairn/test-support/nodes/director-scene";
import { expect, it } from "vitest";
import { JointTransactions } from "../../src/queues/joint-transactions.ts";
import type { AnyOperation, Transaction } from "../../src/index.ts";

const shared = sharedNode();
const { signal } = new AbortController();

/** Claims two shards. Returns their renewals, and an access that records the number of operations in each transaction. */
async function claimed(scene: DirectorScene) {
  const { txId: epoch } = await scene.transact(
    ["claim", scene.name, 0, { as: "a" }],
    ["claim", scene.name, 1, { as: "a" }],
  );
  const renewals = [0, 1].map((shard): AnyOperation => ["renew", scene.name, shard, epoch]);
  const sent: number[] = [];
  const { transact } = queueAccess(scene.node.client());
  const access: Pick<QueueAccess, "transact"> = {
    transact: async (transaction: Transaction<AnyOperation>, aborted) => {
      sent.push(transaction.ops.length);
      return await transact(transaction, aborted);
    },
  };
  return { epoch, joint: new JointTransactions(access), renewals, sent };
}

it("what shards submit in one turn is one transaction", async () => {
  await using scene = await shared.scene();
  const { joint, renewals, sent } = await claimed(scene);
  const outcomes = await Promise.all(renewals.map((one) => joint.transact([one], signal)));
  expect([sent, outcomes.map(({ committed }) => committed)]).toEqual([[2], [true, true]]);
});

it("if a joint transaction is refused or cannot be stored, each part is submitted by itself", async () => {
  await using scene = await shared.scene();
  const { epoch, joint, renewals, sent } = await claimed(scene);
  await scene.transact(["release", scene.name, 1, epoch]);
  const outcomes = await Promise.all(renewals.map((one) => joint.transact([one], signal)));
  expect([sent, outcomes.map(({ committed }) => committed)]).toEqual([
    [2, 1, 1],
    [true, false],
  ]);
  const invalid = [["put", scene.name, "0/e", OPEN, { epoch: 0 }]] as const;
  const settled = await Promise.allSettled([
    joint.transact(renewals.slice(0, 1), signal),
    joint.transact(invalid, signal),
  ]);
  expect(settled).toMatchObject([
    { status: "fulfilled", value: { committed: true } },
    { status: "rejected", reason: { code: "TX_INVALID" } },
  ]);
});

it("what is large is not joined, and what was abandoned keeps nothing from being stored", async () => {
  await using scene = await shared.scene();
  const { epoch, joint, sent } = await claimed(scene);
  const text = "x".repeat(200_000);
  const puts = [0, 1].map((shard): AnyOperation => [
    "put",
    scene.name,
    `${shard}/e${shard}`,
    { ...OPEN, text },
    { epoch },
  ]);
  await Promise.all(puts.map((put) => joint.transact([put], signal)));
  expect(sent).toEqual([1, 1]);
  const lost = new AbortController();
  const abandoned = joint.transact([["put", scene.name, "0/f", OPEN, { epoch }]], lost.signal);
  const stored = joint.transact([["put", scene.name, "1/g", OPEN, { epoch }]], signal);
  lost.abort(new Error("lost"));
  await expect(abandoned).rejects.toThrow("lost");
  expect(await stored).toMatchObject({ committed: true });
  expect(await scene.document("g")).toEqual(OPEN);
});
