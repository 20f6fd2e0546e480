import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { readJsonArgument } from "../terminal/input.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";

interface EnqueueOptions extends NodeOptions {
  readonly name?: string;
}

/** Adds `cairn queue enqueue`. */
export const addQueueEnqueue: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("enqueue <queue> <json>"),
    "Enqueue an entry (JSON, @file, or - for standard input)",
    [
      `cairn queue enqueue deliveries '{"state": "new", "url": "http://example.org/hook"}'`,
      `cairn queue enqueue deliveries @order-7.json --name order-7`,
    ],
  )
    .option("--name <name>", "the name of the entry; a random one by default")
    .action(async (queue: string, json: string, { name, ...options }: EnqueueOptions) => {
      const document = await readJsonArgument(json, terminal);
      const named = name === undefined ? "" : `"name":${JSON.stringify(name)},`;
      const enqueued = (await withNode(terminal, options, (node) =>
        node.json({
          method: "POST",
          path: `/api/v1/queues/${encodeURIComponent(queue)}/entries`,
          body: `{${named}"document":${document}}`,
        }),
      )) as { txId: number; name: string; shard: number };
      if (options.json === true) return writeJson(terminal.stdout, enqueued);
      const { txId, shard } = enqueued;
      return writeLine(terminal.stdout, `enqueued ${enqueued.name} in shard ${shard} as transaction ${txId}`);
    });
};
