import { reasonWords } from "@cairn/client/protocol";
import { CairnError } from "@cairn/kv";
import { command, type CommandRun } from "../options/command.ts";
import { NODE_OPTIONS, openNode, type NodeOptions } from "../options/node-address.ts";
import { countValue, flag } from "../options/option-specs.ts";
import { loadTransactions, pace } from "../requests/load-transactions.ts";
import { openNdjson } from "../requests/export-lines.ts";
import type { AbortedLine, SendProgress } from "../requests/send-chunks.ts";
import { formatCount, formatNumberOf } from "../../text/quantities.ts";

export const addLoad = command({
  syntax: "load <file>",
  description: "Load transactions in order from an NDJSON file, one per line (- for standard input)",
  examples: ["cairn load history.ndjson", "gunzip < history.ndjson.gz | cairn load - --await"],
  options: {
    ...NODE_OPTIONS,
    fromLine: countValue("<number>", "skip the lines before this line", 1, 1),
    await: flag("wait until the node has indexed all transactions, and report those that were aborted"),
  },
  async act(run, file) {
    const begun = performance.now();
    const { transactions, lastTxId = null, aborted } = await loadFile(run, file);
    const seconds = (performance.now() - begun) / 1000;
    const counts = { transactions, ...(run.options.await ? { aborted: aborted.count } : {}) };
    const what = formatNumberOf(transactions, "transaction");
    const last = lastTxId === null ? "" : `, last tx-id ${lastTxId}`;
    await run.answer(
      { ...counts, seconds, lastTxId },
      `loaded ${what} in ${pace(transactions, seconds)}${last}`,
    );
    if (aborted.count > 0) throw abortedError({ transactions, aborted });
  },
});

/** What was loaded, and how many of these transactions were aborted, as far as that was awaited. */
interface Loaded extends SendProgress {
  readonly aborted: { readonly count: number; readonly first: AbortedLine | undefined };
}

async function loadFile(
  run: CommandRun<NodeOptions & { fromLine: number; await: boolean }>,
  file: string,
): Promise<Loaded> {
  const node = await openNode(run);
  const input = await openNdjson(file, run.terminal);
  run.defer(input.close);
  const signal = run.interruptible("some lines were stored");
  const display = run.progress("loading", input.bytes);
  let aborted: Loaded["aborted"] = { count: 0, first: undefined };
  const noteAborted = (more: number, [first]: readonly AbortedLine[]): Promise<void> => {
    aborted = { count: aborted.count + more, first: aborted.first ?? first };
    return Promise.resolve();
  };
  const loaded = await loadTransactions(node, input.lines, {
    fromLine: run.options.fromLine,
    signal,
    onProgress: ({ bytes, transactions }) =>
      display.update(bytes, formatNumberOf(transactions, "transaction")),
    onRetry: ({ code, message }) => void run.tell(`${code}: ${message} Retrying.`),
    onAborted: run.options.await ? noteAborted : undefined,
  });
  const stored = `${formatNumberOf(loaded.transactions, "transaction")} of this input`;
  run.throwIfInterrupted(
    `${stored} ${loaded.transactions === 1 ? "was" : "were"} stored`,
    `Run the command again with --from-line ${loaded.nextLine}.`,
  );
  return { ...loaded, aborted };
}

function abortedError({
  transactions,
  aborted: { count: aborted, first },
}: Pick<Loaded, "transactions" | "aborted">): CairnError {
  const { line = 0, txId = 0, reason } = first ?? {};
  return new CairnError(
    "CONFLICT",
    `${formatCount(aborted)} of ${formatNumberOf(transactions, "transaction")} ${aborted === 1 ? "was" : "were"} aborted, and changed nothing; the first one is transaction ${txId} in line ${line}: ${reasonWords(reason)}.`,
    {
      hint: 'cairn tx show ID shows the reason of a transaction. Make what was refused possible, and load these lines again, each with another "id", or without one: an id stays with its aborted transaction.',
    },
  );
}
