import { createHash } from "node:crypto";
import type { TxOutcome } from "@cairn/client";
import { queuePath, reasonWords } from "@cairn/client/protocol";
import { CairnError, unlessFailed } from "@cairn/kv";
import { parseJson, formatCount, formatNumberOf } from "@cairn/text";
import { documentLines } from "../requests/ndjson-chunks.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { command, type CommandRun } from "../options/command.ts";
import { askNode, NODE_OPTIONS, type NodeOptions, openNode } from "../options/node-address.ts";
import { flag, textValue } from "../options/option-specs.ts";
import { openInput, readJsonArgument } from "../terminal/input.ts";
import { UsageError } from "../terminal/report-error.ts";

export interface LinesEnqueued {
  readonly enqueued: number;
  /** The number of entries that an earlier run with this input had enqueued. */
  readonly present: number;
  /** The last transaction that enqueued entries; null if none did. */
  readonly lastTxId: number | null;
}

export interface LinesTarget {
  readonly node: NodeClient;
  readonly queue: string;
  /** When it is aborted, nothing more is sent, and the progress is returned. */
  readonly signal: AbortSignal;
  /** Called after each transaction, with the bytes of the lines so far. */
  readonly onProgress: (bytes: number, progress: LinesEnqueued) => void;
}

interface LineEntry {
  readonly number: number;
  readonly name: string;
  readonly json: string;
  /** The size of the input up to the end of the line. */
  readonly end: number;
}

const MAX_ENTRIES = 256;
const MAX_BYTES = 256 * 1024;

/**
 * Enqueues each line as an entry, in their order and many in a transaction. The name of an entry is the SHA-256 of all
 * lines up to it, so a second run with the same lines, or with others after them, finds the entries of the first one.
 */
export async function enqueueLines(
  target: LinesTarget,
  source: AsyncIterable<Buffer>,
): Promise<LinesEnqueued> {
  const { node, queue, signal, onProgress } = target;
  // A bucket that is no queue is refused before any of the input is read.
  await node.json({ path: queuePath(queue) });
  let progress: LinesEnqueued = { enqueued: 0, present: 0, lastTxId: null };
  for await (const batch of batches(source)) {
    if (signal.aborted) return progress;
    progress = await enqueueBatch(target, batch, progress);
    onProgress(batch.at(-1)?.end ?? 0, progress);
  }
  return progress;
}

/** Enqueues what is missing of a batch in one transaction or, if that is refused, one by one as long as there is room. */
async function enqueueBatch(
  target: LinesTarget,
  batch: readonly LineEntry[],
  before: LinesEnqueued,
): Promise<LinesEnqueued> {
  const outcome = await submit(target, batch);
  if (outcome.committed)
    return { ...before, enqueued: before.enqueued + batch.length, lastTxId: outcome.txId };
  const present = await countPresent(target, batch);
  let progress = { ...before, present: before.present + present };
  if (present === batch.length) return progress;
  if (present > 0) return await enqueueBatch(target, batch.slice(present), progress);
  for (const line of batch) {
    const { committed, txId, reason } = batch.length === 1 ? outcome : await submit(target, [line]);
    if (!committed) throw refused(target.queue, line.number, reason, progress);
    progress = { ...progress, enqueued: progress.enqueued + 1, lastTxId: txId };
  }
  return progress;
}

async function submit({ node, queue }: LinesTarget, batch: readonly LineEntry[]): Promise<TxOutcome> {
  const ops = batch.map(({ name, json }) => `["enqueue",${JSON.stringify(queue)},"${name}",${json}]`);
  return await node.transact(`{"ops":[${ops.join(",")}]}`);
}

/**
 * Returns how many entries of the batch were enqueued earlier: lines are enqueued in order, so all up to the last one
 * that exists; those before it may have been finished and removed since.
 */
async function countPresent({ node, queue }: LinesTarget, batch: readonly LineEntry[]): Promise<number> {
  for (let count = batch.length; count > 0; count -= 1) {
    const name = batch[count - 1]?.name;
    const entry = node.json({ path: `${queuePath(queue)}/entry`, query: { name } });
    if ((await unlessFailed(entry, "NOT_FOUND", undefined)) !== undefined) return count;
  }
  return 0;
}

function refused(
  queue: string,
  line: number,
  reason: string | undefined,
  { enqueued, present }: LinesEnqueued,
): CairnError {
  return new CairnError(
    "CONFLICT",
    `Line ${line} was not enqueued: ${reasonWords(reason)}.`,
    `Look at the shards with cairn queue show ${queue}. Directors make room as entries are finished; to make room at once, raise "shards" or "cap" of ${queue} in the policies (cairn policy show prints them), and set them with cairn policy apply. Then run the command again with the same input: the ${enqueued + present} lines before this one are not enqueued twice.`,
  );
}

async function* batches(source: AsyncIterable<Buffer>): AsyncGenerator<readonly LineEntry[]> {
  const hash = createHash("sha256");
  let batch: LineEntry[] = [];
  let bytes = 0;
  let end = 0;
  for await (const lines of documentLines(source)) {
    for (const { number, bytes: line } of lines) {
      hash.update(line).update("\n");
      end += line.length + 1;
      if (batch.length === MAX_ENTRIES || (batch.length > 0 && bytes + line.length > MAX_BYTES)) {
        yield batch;
        [batch, bytes] = [[], 0];
      }
      batch.push({ number, name: hash.copy().digest("hex"), json: documentOf(number, line), end });
      bytes += line.length;
    }
  }
  if (batch.length > 0) yield batch;
}

function documentOf(number: number, line: Buffer): string {
  try {
    return JSON.stringify(parseJson(line) ?? null);
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    throw new CairnError(error.code, `Line ${number}: ${error.message.replace(/^The body /, "The line ")}`, {
      hint: "Write one document in JSON on each line. Run the command again with the corrected input: lines before the first changed one are not enqueued twice.",
      cause: error,
    });
  }
}

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
