import type { ClientTransaction } from "@cairn/client";
import { shorten } from "../terminal/columns.ts";
import { type AddCommand, describeNodesCommand, wholeNumber } from "../options/command-options.ts";
import { type NodesOptions, withNodes } from "../options/node-address.ts";
import { followWatch } from "../requests/follow-watch.ts";
import { formatTime } from "../../text/quantities.ts";
import { printable, writeLine, tell } from "../terminal/terminal.ts";

interface WatchOptions extends NodesOptions {
  readonly namespace?: string;
  readonly from?: number;
  readonly limit?: number;
}

export const addWatch: AddCommand = (parent, terminal) => {
  describeNodesCommand(
    parent.command("watch [bucket]"),
    "Print every change as it happens, once and in order",
    [
      "cairn watch pods --namespace default",
      "cairn watch --from 1200 --json --url http://10.0.0.1:3000 --url http://10.0.0.2:3000",
    ],
  )
    .option("--namespace <namespace>", "print only changes in this namespace")
    .option(
      "--from <tx>",
      "begin after this transaction (default: the current one)",
      wholeNumber("--from", 0),
    )
    .option("--limit <count>", "stop after this many transactions", wholeNumber("--limit", 1))
    .action(async (bucket: string | undefined, options: WatchOptions) => {
      const { namespace, from, limit = Infinity, json = false } = options;
      const stop = new AbortController();
      const undo = terminal.onSignal(["SIGINT", "SIGTERM"], () => stop.abort());
      const onLeft = (reason: string, position: number | undefined): void => {
        const where =
          position === undefined ? "from the current transaction" : `after transaction ${position}`;
        if (!json) void tell(terminal, printable(`${reason} Continuing ${where}.`));
      };
      try {
        await withNodes(terminal, options, async (nodes) => {
          let shown = 0;
          const following = { bucket, namespace, from, signal: stop.signal, onLeft };
          for await (const { transaction, json: line } of followWatch(nodes, following)) {
            for (const text of json ? [line] : changeLines(transaction))
              await writeLine(terminal.stdout, text);
            shown += 1;
            if (shown >= limit) break;
          }
        });
      } finally {
        undo();
      }
    });
};

const WIDEST_DOCUMENT = 200;

/** Returns a line for each change, with the id of its transaction. */
function changeLines({ txId, txTime, changes }: ClientTransaction<unknown>): readonly string[] {
  return changes.map(({ op, bucket, namespace, name, document }) => {
    const head = `${formatTime(txTime)}  ${txId}  ${op.padEnd(6)}  ${bucket} ${namespace}/${name}`;
    return printable(op === "put" ? `${head}  ${shorten(JSON.stringify(document), WIDEST_DOCUMENT)}` : head);
  });
}
