import type { QueueShard, QueueStatus } from "@cairn/client";
import { queuePath } from "@cairn/client/protocol";
import { formatCount } from "../../text/quantities.ts";
import {
  type AddCommand,
  describeReadCommand,
  type ReadCommandOptions,
  readQuery,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { formatFields, formatTable } from "../terminal/columns.ts";
import { tell, writeJson, writeJsonLines, writeLine } from "../terminal/terminal.ts";

export const addQueueList: AddCommand = (parent, terminal) => {
  describeReadCommand(parent.command("list"), "List the queues, with their entries and shards", [
    "cairn queue list",
  ]).action(async (options: ReadCommandOptions) => {
    const queues = (await withNode(terminal, options, (node) =>
      node.json({ path: "/api/v1/queues", query: readQuery(options) }),
    )) as readonly QueueStatus[];
    if (options.json === true) return writeJsonLines(terminal.stdout, queues);
    if (queues.length === 0) return tell(terminal, "None found.");
    const rows = queues.map((queue) => [
      queue.name,
      formatCount(queue.open),
      formatCount(queue.entries),
      shardsText(queue),
    ]);
    const heading = ["QUEUE", "OPEN", "ENTRIES", "SHARDS"];
    return writeLine(terminal.stdout, formatTable(heading, rows, ["OPEN", "ENTRIES"], terminal.stdout));
  });
};

export const addQueueShow: AddCommand = (parent, terminal) => {
  describeReadCommand(
    parent.command("show <queue>"),
    "Show the shards of a queue, and who holds them until when",
    ["cairn queue show deliveries"],
  ).action(async (name: string, options: ReadCommandOptions) => {
    const queue = (await withNode(terminal, options, (node) =>
      node.json({ path: queuePath(name), query: readQuery(options) }),
    )) as QueueStatus;
    if (options.json === true) return writeJson(terminal.stdout, queue);
    const { policy } = queue;
    const fields = formatFields([
      ["Queue", queue.name],
      ["Entries", `${formatCount(queue.entries)}, ${formatCount(queue.open)} of them open`],
      ["Shards", shardsText(queue)],
      ["Cap", `${formatCount(policy.cap)} entries a shard`],
      ["Lease", String(policy.lease)],
    ]);
    await writeLine(terminal.stdout, fields);
    if (queue.shards.length === 0) return;
    const rows = queue.shards.map((shard) => [
      String(shard.shard),
      shard.state,
      formatCount(shard.entries),
      formatCount(shard.open),
      shard.epoch === null ? "" : String(shard.epoch),
      shard.holder?.as ?? "",
      shard.holder?.until ?? "",
    ]);
    const heading = ["SHARD", "STATE", "ENTRIES", "OPEN", "EPOCH", "HELD BY", "UNTIL"];
    const right = ["SHARD", "ENTRIES", "OPEN", "EPOCH"];
    return writeLine(terminal.stdout, `\n${formatTable(heading, rows, right, terminal.stdout)}`);
  });
};

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
