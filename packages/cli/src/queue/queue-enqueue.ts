import { queuePath } from "@cairn/client/protocol";
import { formatCount, formatNumberOf } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { askNode, NODE_OPTIONS, type NodeOptions, openNode } from "../options/node-address.ts";
import { flag, textValue } from "../options/option-specs.ts";
import { openInput, readJsonArgument } from "../terminal/input.ts";
import { UsageError } from "../terminal/report-error.ts";
import { enqueueLines, type LinesEnqueued } from "./enqueue-lines.ts";

export const addQueueEnqueue = command({
  syntax: "enqueue <queue> <json>",
  description: "Enqueue an entry (JSON, @file, or - for standard input), or one for each line",
  examples: [
    `cairn queue enqueue deliveries '{"state": "new", "url": "http://example.org/hook"}'`,
    `cairn queue enqueue deliveries @order-7.json --name order-7`,
    `cairn queue enqueue deliveries @orders.ndjson --lines`,
  ],
  options: {
    ...NODE_OPTIONS,
    name: textValue("<name>", "the name of the entry; a random one by default"),
    lines: {
      ...flag("enqueue each line of the file or of standard input, once however often it is sent"),
      conflicts: ["name"],
    },
  },
  async act(run, queue, json) {
    const { name, lines } = run.options;
    if (lines) {
      const summary = await enqueueInput(run, queue, json);
      const { enqueued, present, lastTxId } = summary;
      const there = present === 0 ? "" : ` (${formatCount(present)} of the input had been enqueued before)`;
      const last = lastTxId === null ? "" : `, last tx-id ${lastTxId}`;
      return await run.answer(summary, `enqueued ${formatNumberOf(enqueued, "entry")}${there}${last}`);
    }
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

async function enqueueInput(
  run: CommandRun<NodeOptions>,
  queue: string,
  argument: string,
): Promise<LinesEnqueued> {
  if (argument !== "-" && !argument.startsWith("@"))
    throw new UsageError(
      "--lines needs a file or standard input.",
      "Write @file.ndjson, or - for standard input.",
    );
  const node = await openNode(run);
  const { stream, bytes } = await openInput(argument === "-" ? "-" : argument.slice(1), run.terminal);
  run.defer(() => stream.destroy());
  const signal = run.interruptible("some lines were enqueued");
  const display = run.progress("enqueuing", bytes);
  const onProgress = (done: number, { enqueued }: LinesEnqueued): void =>
    display.update(done, formatNumberOf(enqueued, "entry"));
  const summary = await enqueueLines({ node, queue, signal, onProgress }, stream);
  run.throwIfInterrupted(
    `${formatNumberOf(summary.enqueued, "entry")} of this input ${summary.enqueued === 1 ? "was" : "were"} enqueued`,
    "Run the command again with the same input. These entries are not enqueued twice.",
  );
  return summary;
}
