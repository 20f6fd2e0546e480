import type { QueueShard, QueueStatus, QueueEntry } from "@cairn/client";
import { queuePath, type DrainAccess, drainShard, durationMs, pagePlace } from "@cairn/client/protocol";
import { formatCount, formatNumberOf } from "@cairn/text";
import { command, commandGroup } from "../options/command.ts";
import { askNode, NODE_OPTIONS, READ_OPTIONS, readNode, openNode } from "../options/node-address.ts";
import { textValue, wholeNumber } from "../options/option-specs.ts";
import { type Column, formatFields } from "../terminal/columns.ts";
import { readJsonArgument } from "../terminal/input.ts";
import { hostname } from "node:os";
import { CairnError } from "@cairn/kv";
import type { NodeClient } from "../requests/node-client.ts";

const addList = command({
  syntax: "list",
  description: "List the queues, with their entries and shards",
  examples: ["cairn queue list"],
  options: READ_OPTIONS,
  async act(run) {
    await run.list(await readNode<QueueStatus[]>(run, "/api/v1/queues"), [
      ["QUEUE", ({ name }) => name],
      ["OPEN", ({ open }) => formatCount(open), "right"],
      ["ENTRIES", ({ entries }) => formatCount(entries), "right"],
      ["SHARDS", shardsText],
    ]);
  },
});

const addShow = command({
  syntax: "show <queue>",
  description: "Show the shards of a queue, and who holds them until when",
  examples: ["cairn queue show deliveries"],
  options: READ_OPTIONS,
  async act(run, name) {
    const queue = await readNode<QueueStatus>(run, queuePath(name));
    const { policy, shards } = queue;
    const fields = formatFields([
      ["Queue", queue.name],
      ["Entries", `${formatCount(queue.entries)}, ${formatCount(queue.open)} of them open`],
      ["Shards", shardsText(queue)],
      ["Cap", `${formatCount(policy.cap)} entries a shard`],
      ["Lease", String(policy.lease)],
    ]);
    const text = shards.length === 0 ? fields : `${fields}\n\n${run.table(SHARD_COLUMNS, shards)}`;
    await run.answer(queue, text);
  },
});

const SHARD_COLUMNS: readonly Column<QueueShard>[] = [
  ["SHARD", ({ shard }) => String(shard), "right"],
  ["STATE", ({ state }) => state],
  ["ENTRIES", ({ entries }) => formatCount(entries), "right"],
  ["OPEN", ({ open }) => formatCount(open), "right"],
  ["EPOCH", ({ epoch }) => (epoch === null ? "" : String(epoch)), "right"],
  ["HELD BY", ({ holder }) => holder?.as ?? ""],
  ["UNTIL", ({ holder }) => holder?.until ?? ""],
];

const addEnqueue = command({
  syntax: "enqueue <queue> <json>",
  description: "Enqueue an entry (JSON, @file, or - for standard input)",
  examples: [
    `cairn queue enqueue deliveries '{"state": "new", "url": "http://example.org/hook"}'`,
    `cairn queue enqueue deliveries @order-7.json --name order-7`,
  ],
  options: { ...NODE_OPTIONS, name: textValue("<name>", "the name of the entry; a random one by default") },
  async act(run, queue, json) {
    const { name } = run.options;
    const document = await readJsonArgument(json, run.terminal);
    const named = name === undefined ? "" : `"name":${JSON.stringify(name)},`;
    const enqueued = await askNode<{ txId: number; name: string; shard: number }>(run, {
      method: "POST",
      path: `${queuePath(queue)}/entries`,
      body: `{${named}"document":${document}}`,
    });
    const { txId, shard } = enqueued;
    return await run.answer(enqueued, `enqueued ${enqueued.name} in shard ${shard} as transaction ${txId}`);
  },
});

const addDrain = command({
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
      : `Look at the shards, and who holds them until when (cairn queue show ${queue}). One that is spare or retiring has nothing left to drain; the rows of a retiring one are removed with the next transactions, up to 256 with each.`,
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

export const addQueue = commandGroup("queue", "Show queues, enqueue entries, or drain a shard", [
  addList,
  addShow,
  addEnqueue,
  addDrain,
]);

const STATES: readonly QueueShard["state"][] = ["active", "draining", "retiring"];

/** Returns the number of shards in each state, such as `3 active, 13 spare`. */
function shardsText({ shards, spare }: QueueStatus): string {
  const counts = STATES.map(
    (state) => [shards.filter((shard) => shard.state === state).length, state] as const,
  );
  return [...counts, [spare, "spare"] as const]
    .filter(([count]) => count > 0)
    .map(([count, state]) => `${count} ${state}`)
    .join(", ");
}
