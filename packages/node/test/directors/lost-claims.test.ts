// @module-tag nats
import { directQueue, type QueueAccess, queueAccess } from "@cairn/client/protocol";
import { expect, it, vi } from "vitest";
import { resolvable } from "@cairn/kv";
import { ClusterScene } from "@cairn/test-support/nodes/cluster-scene";
import { DirectorScene, OPEN, POLICY, QUEUE } from "@cairn/test-support/nodes/director-scene";

const PATIENT = { timeout: 60_000, interval: 20 };

it(
  "a director whose claim the log has lost gives its shard up, although a later claim has the same epoch",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    try {
      const node = await scene.ready("a");
      const policy = { ...POLICY, shards: 1, lease: "PT10S" };
      await node.submit({ ops: [["configure", { queues: { [QUEUE]: policy } }]] });
      await node.await(await node.submit({ ops: [["enqueue", QUEUE, "e1", OPEN]] }));
      await scene.copyLog();
      await vi.waitFor(() => expect(node.phase).toBe("ready"), PATIENT);

      let gate = Promise.resolve();
      const real = queueAccess(node.client());
      const access: QueueAccess = {
        ...real,
        transact: async (...call) => await gate.then(() => real.transact(...call)),
        queue: async (...call) => await gate.then(() => real.queue(...call)),
      };
      const [taken, released] = [resolvable(), resolvable()];
      let signal: AbortSignal | undefined;
      const director = directQueue(access, QUEUE, {
        as: "x",
        handle: async (_entry, given) => {
          signal = given;
          taken.resolve();
          await released.promise;
        },
      });
      await taken.promise;
      const { shards } = (await node.queue(QUEUE)).queue;

      const open = resolvable();
      gate = open.promise;
      await scene.rollBackLog();
      await vi.waitFor(
        async () => expect((await node.queue(QUEUE)).queue.shards[0]?.holder).toBeNull(),
        PATIENT,
      );
      const claim = await node.await(await node.submit({ ops: [["claim", QUEUE, 0, { as: "y" }]] }));
      expect(claim).toMatchObject({ committed: true, txId: shards[0]?.epoch });
      // The rule refuses what the lost claim would write, even before its director has looked.
      const hold = { epoch: claim.txId, as: "x" };
      for (const operation of [
        ["renew", QUEUE, 0, hold],
        ["release", QUEUE, 0, hold],
        ["put", QUEUE, "0/e1", { state: "done" }, hold],
      ] as const) {
        expect(await node.await(await node.submit({ ops: [operation] }))).toMatchObject({
          committed: false,
          reason: `CONFLICT: ${QUEUE} shard 0 epoch ${claim.txId} belongs to "y"`,
        });
      }
      open.resolve();
      await vi.waitFor(() => expect(signal?.aborted).toBe(true), PATIENT);
      released.resolve();
      await director.stop();
      const { queue } = await node.queue(QUEUE);
      expect(queue).toMatchObject({
        open: 1,
        shards: [{ shard: 0, epoch: claim.txId, holder: { as: "y" } }],
      });
    } finally {
      await scene.close();
    }
  },
);

it("a claim that is on its way when its director is stopped is given back", async () => {
  await using scene = await DirectorScene.start({ lease: "PT10M" });
  const real = queueAccess(scene.node.client());
  const [sent, stopped] = [resolvable(), resolvable()];
  const access: QueueAccess = {
    ...real,
    transact: async (transaction, signal) => {
      const outcome = await real.transact(transaction, signal);
      if (transaction.ops[0]?.[0] === "claim") {
        sent.resolve();
        await stopped.promise;
      }
      return outcome;
    },
  };
  const director = directQueue(access, QUEUE, { handle: () => undefined });
  await sent.promise;
  expect(await scene.queue()).toMatchObject({ shards: [{ holder: { as: director.as } }] });
  const stopping = director.stop();
  stopped.resolve();
  await stopping;
  expect(await scene.queue()).toMatchObject({ shards: [{ holder: null }] });
});
