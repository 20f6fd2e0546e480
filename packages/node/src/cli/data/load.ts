import {
  type AddCommand,
  describeNodeCommand,
  type NodeOptions,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { interruptible, InterruptedError } from "../terminal/interrupt.ts";
import { reasonWords } from "@cairn/client/protocol";
import { CairnError } from "@cairn/kv";
import { openNdjson } from "../requests/ndjson-input.ts";
import { loadTransactions } from "../requests/load-transactions.ts";
import type { AbortedLine, SendProgress } from "../requests/send-chunks.ts";
import type { NodeClient } from "../requests/node-client.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { formatCount, formatNumberOf } from "../../text/quantities.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";

interface LoadCommandOptions extends NodeOptions {
  readonly fromLine: number;
  readonly await?: boolean;
}

export const addLoad: AddCommand = (parent, terminal) => {
  describeNodeCommand(
    parent.command("load <file>"),
    "Load transactions in order from an NDJSON file, one per line (- for standard input)",
    ["cairn load history.ndjson", "gunzip < history.ndjson.gz | cairn load - --await"],
  )
    .option("--from-line <number>", "skip the lines before this line", wholeNumber("--from-line", 1), 1)
    .option("--await", "wait until the node has indexed all transactions, and report those that were aborted")
    .action(async (file: string, options: LoadCommandOptions) => {
      const begun = performance.now();
      await withNode(terminal, options, async (node) => {
        const loaded = await loadFile(node, file, options, terminal);
        await writeSummary(terminal, loaded, (performance.now() - begun) / 1000, options);
        if (loaded.aborted.count > 0) throw abortedError(loaded);
      });
    });
};

/** What was loaded, and how many of these transactions were aborted, as far as that was awaited. */
interface Loaded extends SendProgress {
  readonly aborted: { readonly count: number; readonly first: AbortedLine | undefined };
}

async function loadFile(
  node: NodeClient,
  file: string,
  options: LoadCommandOptions,
  terminal: Terminal,
): Promise<Loaded> {
  const input = await openNdjson(file, terminal);
  const { signal, forget } = interruptible(terminal, "some lines were stored");
  const display = showProgress(terminal.stderr, "loading", input.bytes);
  let waiting = false;
  let aborted: Loaded["aborted"] = { count: 0, first: undefined };
  const noteAborted = (_chunk: unknown, count: number, [first]: readonly AbortedLine[]): Promise<void> => {
    aborted = { count: aborted.count + count, first: aborted.first ?? first };
    return Promise.resolve();
  };
  try {
    const loaded = await loadTransactions(node, input.lines, {
      fromLine: options.fromLine,
      signal,
      onProgress: ({ bytes, transactions }) => {
        waiting = false;
        display.update(bytes, formatNumberOf(transactions, "transaction"));
      },
      onRetry: (error) => {
        if (!waiting) terminal.stderr.write(`${error.code}: ${error.message} Retrying.\n`);
        waiting = true;
      },
      onAborted: options.await === true ? noteAborted : undefined,
    });
    if (signal.aborted && signal.reason instanceof InterruptedError)
      throw interruptedAt(signal.reason, loaded);
    return { ...loaded, aborted };
  } finally {
    display.stop();
    forget();
    input.close();
  }
}

function interruptedAt(error: InterruptedError, { transactions, nextLine }: SendProgress): InterruptedError {
  return error.withOutcome(
    `${formatNumberOf(transactions, "transaction")} of this input ${transactions === 1 ? "was" : "were"} stored`,
    `Run the command again with --from-line ${nextLine}.`,
  );
}

function abortedError({ transactions, aborted: { count, first } }: Loaded): CairnError {
  const { line = 0, txId = 0, reason } = first ?? {};
  return new CairnError(
    "CONFLICT",
    `${formatCount(count)} of ${formatNumberOf(transactions, "transaction")} ${count === 1 ? "was" : "were"} aborted, and changed nothing; the first one is transaction ${txId} in line ${line}: ${reasonWords(reason)}.`,
    {
      hint: 'cairn tx show ID shows the reason of a transaction. Make what was refused possible, and load these lines again, each with another "id", or without one: an id stays with its aborted transaction.',
    },
  );
}

async function writeSummary(
  terminal: Terminal,
  { transactions, lastTxId, aborted }: Loaded,
  seconds: number,
  options: LoadCommandOptions,
): Promise<void> {
  if (options.json === true) {
    const counts = { transactions, ...(options.await === true ? { aborted: aborted.count } : {}) };
    return writeJson(terminal.stdout, { ...counts, seconds, lastTxId: lastTxId ?? null });
  }
  const rate = formatCount(transactions / Math.max(seconds, 0.001));
  const last = lastTxId === undefined ? "" : `, last tx-id ${lastTxId}`;
  return writeLine(
    terminal.stdout,
    `loaded ${formatNumberOf(transactions, "transaction")} in ${seconds.toFixed(seconds < 10 ? 1 : 0)} s (${rate}/s)${last}`,
  );
}
