import type { AbortedLine } from "@cairn/client";
import { reasonWords } from "@cairn/client/protocol";
import { CairnError } from "@cairn/kv";
import { command } from "../options/command.ts";
import { NODE_OPTIONS, openNode } from "../options/node-address.ts";
import { countValue, flag } from "../options/option-specs.ts";
import { openNdjson } from "../requests/export-lines.ts";
import { CHUNK_BYTES, type NdjsonChunk, ndjsonChunks } from "../requests/ndjson-chunks.ts";
import { NoAnswerError, NodeError } from "../requests/node-client.ts";
import { pace, sendChunks, type SendProgress } from "../requests/send-chunks.ts";
import { formatCount, formatNumberOf } from "@cairn/text";

export const addLoad = command({
  syntax: "load <file>",
  description: "Load transactions in order from an NDJSON file, one per line (- for standard input)",
  examples: ["cairn load history.ndjson", "gunzip < history.ndjson.gz | cairn load - --await"],
  options: {
    ...NODE_OPTIONS,
    fromLine: countValue("<number>", "skip the lines before this line", 1),
    await: flag("wait until the node has indexed all transactions, and report those that were aborted"),
  },
  async act(run, file) {
    const begun = performance.now();
    const { fromLine, await: isAwaited } = run.options;
    const node = await openNode(run);
    const input = await openNdjson(file, run.terminal);
    run.defer(input.close);
    const signal = run.interruptible("some lines were stored");
    const display = run.progress("loading", input.bytes);
    let aborted = 0;
    let firstAborted: AbortedLine | undefined;
    const onAborted = (more: number, [first]: readonly AbortedLine[]): Promise<void> => {
      aborted += more;
      firstAborted ??= first;
      return Promise.resolve();
    };
    const chunks = ndjsonChunks(input.lines, { size: CHUNK_BYTES, fromLine });
    const loaded = await sendChunks(node, chunks, {
      fromLine,
      signal,
      onProgress: ({ transactions: sent }) =>
        display.update(input.bytesRead(), formatNumberOf(sent, "transaction")),
      onRetry: ({ code, message }) => void run.tell(`${code}: ${message} Retrying.`),
      onAborted: isAwaited ? onAborted : undefined,
      onStop: stopped,
    });
    const { transactions, lastTxId = null, nextLine } = loaded;
    const what = formatNumberOf(transactions, "transaction");
    run.throwIfInterrupted(
      `${what} of this input ${transactions === 1 ? "was" : "were"} stored`,
      `Run the command again with --from-line ${nextLine}.`,
    );
    const seconds = (performance.now() - begun) / 1000;
    const last = lastTxId === null ? "" : `, last tx-id ${lastTxId}`;
    await run.answer(
      { transactions, ...(isAwaited ? { aborted } : {}), seconds, lastTxId },
      `loaded ${what} in ${pace(transactions, seconds)}${last}`,
    );
    if (aborted === 0) return;
    const { line = 0, txId = 0, reason } = firstAborted ?? {};
    throw new CairnError(
      "CONFLICT",
      `${formatCount(aborted)} of ${what} ${aborted === 1 ? "was" : "were"} aborted, and changed nothing; the first one is transaction ${txId} in line ${line}: ${reasonWords(reason)}.`,
      'cairn tx show ID shows the reason of a transaction. Make what was refused possible, and load these lines again, each with another "id", or without one: an id stays with its aborted transaction.',
    );
  },
});

/** Returns the error, with a hint that names the number of loaded transactions and the line with which to continue. */
function stopped(error: unknown, chunk: NdjsonChunk, progress: SendProgress): unknown {
  if (!(error instanceof CairnError)) return error;
  const { accepted, line, acceptedAfter } = error instanceof NodeError ? error.details : {};
  const loaded = progress.transactions + (typeof accepted === "number" ? accepted : 0);
  const next = typeof line === "number" ? line : chunk[0]?.number;
  const lastLine = chunk.at(-1)?.number;
  const uncertain =
    (error instanceof NoAnswerError && error.sent) ||
    (typeof acceptedAfter === "number" && acceptedAfter > 0);
  const doubt = uncertain
    ? ` Some of the lines ${next} to ${lastLine} may be stored; lines with an id can be sent again safely.`
    : "";
  return new CairnError(error.code, error.message, {
    hint: `${error.hint === undefined ? "" : `${error.hint} `}Continue with --from-line ${next}. ${loaded} transactions were loaded before the error.${doubt}`,
    cause: error,
  });
}
