import { queuePath } from "@cairn/client/protocol";
import { formatCount } from "../../text/quantities.ts";
import { type AddCommand, describeNodeCommand, type NodeOptions } from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { openInput, readJsonArgument } from "../terminal/input.ts";
import { interruptible, InterruptedError } from "../terminal/interrupt.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { enqueueLines, type LinesEnqueued } from "./enqueue-lines.ts";

interface EnqueueOptions extends NodeOptions {
  readonly name?: string;
  readonly lines?: boolean;
}

export const addQueueEnqueue: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("enqueue <queue> <json>"),
    "Enqueue an entry (JSON, @file, or - for standard input), or one for each line",
    [
      `cairn queue enqueue deliveries '{"state": "new", "url": "http://example.org/hook"}'`,
      `cairn queue enqueue deliveries @order-7.json --name order-7`,
      `cairn queue enqueue deliveries @orders.ndjson --lines`,
    ],
  )
    .option("--name <name>", "the name of the entry; a random one by default")
    .option("--lines", "enqueue each line of the file or of standard input, once however often it is sent")
    .action(async (queue: string, json: string, { name, lines, ...options }: EnqueueOptions) => {
      if (lines === true) {
        if (name !== undefined) throw new UsageError("--lines names the entries, so --name cannot be given.");
        const summary = await withNode(terminal, options, (node) =>
          enqueueInput(node, queue, json, terminal),
        );
        return await writeSummary(terminal, summary, options);
      }
      const document = await readJsonArgument(json, terminal);
      const named = name === undefined ? "" : `"name":${JSON.stringify(name)},`;
      const enqueued = (await withNode(terminal, options, (node) =>
        node.json({
          method: "POST",
          path: `${queuePath(queue)}/entries`,
          body: `{${named}"document":${document}}`,
        }),
      )) as { txId: number; name: string; shard: number };
      if (options.json === true) return writeJson(terminal.stdout, enqueued);
      const { txId, shard } = enqueued;
      return writeLine(terminal.stdout, `enqueued ${enqueued.name} in shard ${shard} as transaction ${txId}`);
    });
};

async function enqueueInput(
  node: NodeClient,
  queue: string,
  argument: string,
  terminal: Terminal,
): Promise<LinesEnqueued> {
  if (argument !== "-" && !argument.startsWith("@"))
    throw new UsageError(
      "--lines needs a file or standard input.",
      "Write @file.ndjson, or - for standard input.",
    );
  const { stream, bytes } = await openInput(argument === "-" ? "-" : argument.slice(1), terminal);
  const { signal, forget } = interruptible(terminal, "some lines were enqueued");
  const display = showProgress(terminal.stderr, "enqueuing", bytes);
  try {
    const summary = await enqueueLines(
      {
        node,
        queue,
        signal,
        onProgress: (done, { enqueued }) => display.update(done, formatEntries(enqueued)),
      },
      stream,
    );
    if (signal.aborted && signal.reason instanceof InterruptedError)
      throw signal.reason.withOutcome(
        `${formatEntries(summary.enqueued)} of this input ${summary.enqueued === 1 ? "was" : "were"} enqueued`,
        "Run the command again with the same input. These entries are not enqueued twice.",
      );
    return summary;
  } finally {
    display.stop();
    forget();
    stream.destroy();
  }
}

async function writeSummary(
  terminal: Terminal,
  summary: LinesEnqueued,
  options: EnqueueOptions,
): Promise<void> {
  if (options.json === true) return await writeJson(terminal.stdout, summary);
  const { enqueued, present, lastTxId } = summary;
  const there = present === 0 ? "" : ` (${formatCount(present)} of the input had been enqueued before)`;
  const last = lastTxId === null ? "" : `, last tx-id ${lastTxId}`;
  return await writeLine(terminal.stdout, `enqueued ${formatEntries(enqueued)}${there}${last}`);
}

function formatEntries(count: number): string {
  return `${formatCount(count)} ${count === 1 ? "entry" : "entries"}`;
}
