import type { QueueShard, QueueStatus } from "@cairn/client";
import { queuePath } from "@cairn/client/protocol";
import { formatCount } from "@cairn/text";
import { command, commandGroup } from "../options/command.ts";
import { READ_OPTIONS, readNode } from "../options/node-address.ts";
import { formatFields } from "../terminal/columns.ts";
import { addQueueDrain } from "./queue-drain.ts";
import { addQueueEnqueue } from "./enqueue-lines.ts";

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

export const addQueue = commandGroup("queue", "Show queues, enqueue entries, or drain a shard", [
  addList,
  addShow,
  addQueueEnqueue,
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
