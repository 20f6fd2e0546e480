import { hostname } from "node:os";
import { CairnError } from "@cairn/kv";
import type { QueueEntry, QueueStatus } from "@cairn/client";
import { type DrainAccess, drainShard, durationMs, pagePlace, queuePath } from "@cairn/client/protocol";
import { formatCount, formatNumberOf } from "@cairn/text";
import { command } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { textValue, wholeNumber } from "../options/option-specs.ts";
import type { NodeClient } from "../requests/node-client.ts";

export const addQueueDrain = command({
  syntax: "drain <queue> <shard>",
  description: "Move the open entries of a shard to other shards, and retire it",
  examples: ["cairn queue drain deliveries 7"],
  options: {
    ...NODE_OPTIONS,
    as: textValue("<name>", "who drains the shard, for people to read", `cairn queue drain on ${hostname()}`),
  },
  async act(run, queue, given) {
    const { as } = run.options;
    const shard = wholeNumber(given, "<shard>", 0);
    const signal = run.interruptible("the shard takes entries again");
    const access = accessOf(await openNode(run));
    const { policy, shards } = await access.queue(queue, signal);
    const { open } = shards.find((one) => one.shard === shard) ?? {};
    const display = run.progress("moving", open, formatCount);
    let movedSoFar = 0;
    const onProgress = (done: number): void => {
      movedSoFar = done;
      display.update(done, `shard ${shard} of ${queue}`);
    };
    const transact: DrainAccess["transact"] = async (transaction, ending) => {
      try {
        return await access.transact(transaction, ending);
      } catch (error) {
        // The drain sends the transaction again, or ends with this error.
        display.update(movedSoFar, (error as Error).message.replace(/\.$/, ""));
        throw error;
      }
    };
    const drained = { queue, shard, as, leaseMs: durationMs(policy.lease), signal, onProgress };
    const result = await drainShard({ ...access, transact }, drained);
    const { moved } = result;
    // A signal that comes while the shard is being retired is too late to interrupt anything.
    if (!result.retired) {
      const entries = `${formatCount(moved)} of its open entries ${moved === 1 ? "was" : "were"} moved`;
      const outcome = `the shard takes entries again, and ${entries}`;
      run.throwIfInterrupted(outcome, "Run the command again to move the others.");
      throw notDrained(queue, shard, result);
    }
    await run.answer(
      { shard, ...result },
      `retired shard ${shard}: moved ${formatNumberOf(moved, "entry")}; the next transactions remove its rows`,
    );
  },
});

function notDrained(
  queue: string,
  shard: number,
  { moved, because }: { readonly moved: number; readonly because: string },
): CairnError {
  const sofar = moved === 0 ? "" : ` Entries moved before that: ${formatCount(moved)}.`;
  return new CairnError(
    "CONFLICT",
    `Shard ${shard} of ${queue} was not retired: ${because}${sofar}`,
    because.endsWith(" has room.")
      ? `Raise "shards" or "cap" of ${queue} in the policies (cairn policy show prints them), set them with cairn policy apply, and run the command again.`
      : `Look at the shards, and who holds them until when, with cairn queue show ${queue}.`,
  );
}

function accessOf(node: NodeClient): DrainAccess {
  return {
    transact: async (transaction) => await node.transact(JSON.stringify(transaction)),
    queue: async (name) => (await node.json({ path: queuePath(name) })) as QueueStatus,
    openEntries: async ({ queue, shard, limit, cursor }) => {
      const path = `${queuePath(queue)}/shards/${shard}/open`;
      const answer = await node.send({ path, query: { limit, cursor } });
      return { ...pagePlace(answer), entries: answer.body as QueueEntry[] };
    },
  };
}
