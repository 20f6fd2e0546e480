import type { QueueShard, QueueStatus } from "@cairn/client";
import { queuePath } from "@cairn/client/protocol";
import { formatCount } from "@cairn/text";
import { command, commandGroup } from "../options/command.ts";
import { askNode, NODE_OPTIONS, READ_OPTIONS, readNode } from "../options/node-address.ts";
import { textValue } from "../options/option-specs.ts";
import { formatFields } from "../terminal/columns.ts";
import { readJsonArgument } from "../terminal/input.ts";
import { addQueueDrain } from "./queue-drain.ts";

const addList = command({
  syntax: "list",
  description: "List the queues, with their entries and shards",
  examples: ["cairn queue list"],
  options: READ_OPTIONS,
  async act(run) {
    await run.list(
      await readNode<QueueStatus[]>(run, "/api/v1/queues"),
      ["QUEUE", "OPEN", "ENTRIES", "SHARDS"],
      (queue) => [queue.name, formatCount(queue.open), formatCount(queue.entries), shardsText(queue)],
      ["OPEN", "ENTRIES"],
    );
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
    const rows = shards.map(({ shard, state, entries, open, epoch, holder }) => [
      String(shard),
      state,
      formatCount(entries),
      formatCount(open),
      epoch === null ? "" : String(epoch),
      holder?.as ?? "",
      holder?.until ?? "",
    ]);
    const heading = ["SHARD", "STATE", "ENTRIES", "OPEN", "EPOCH", "HELD BY", "UNTIL"];
    const table = run.table(heading, rows, ["SHARD", "ENTRIES", "OPEN", "EPOCH"]);
    await run.answer(queue, shards.length === 0 ? fields : `${fields}\n\n${table}`);
  },
});

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

export const addQueue = commandGroup("queue", "Show queues, enqueue entries, or drain a shard", [
  addList,
  addShow,
  addEnqueue,
  addQueueDrain,
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
