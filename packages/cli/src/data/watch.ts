import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { ClientTransaction, ClientWatchQuery, Position } from "@cairn/client";
import { backoffMs, systemClock, CairnError, isCairnError } from "@cairn/kv";
import { followStream, isTransient, LIST_FIRST, WatchEndedError } from "@cairn/client/protocol";
import { formatTime, parsePosition } from "@cairn/text";
import { command } from "../options/command.ts";
import { NODES_OPTIONS, openNodes } from "../options/node-address.ts";
import { countValue, textValue } from "../options/option-specs.ts";
import { type NodeClient, NodeError } from "../requests/node-client.ts";
import { shorten } from "../terminal/columns.ts";
import { CommandError } from "../terminal/interrupt.ts";
import { printable } from "../terminal/terminal.ts";

export const addWatch = command({
  syntax: "watch [bucket]",
  description: "Print every change as it happens, once and in order",
  examples: [
    "cairn watch pods --namespace default",
    "cairn watch --from 0 --json --url http://10.0.0.1:3000 --url http://10.0.0.2:3000",
    "cairn watch flags --exec './reload-flags.sh'",
  ],
  options: {
    ...NODES_OPTIONS,
    namespace: textValue("<namespace>", "print only changes in this namespace"),
    from: textValue("<position>", "begin at this position; 0 is the beginning (default: the end)"),
    limit: countValue("<count>", "stop after this many transactions"),
    exec: textValue(
      "<command>",
      "instead of printing, run this command of the shell for each transaction, with its JSON on standard input",
    ),
  },
  async act(run, bucket) {
    const { namespace, from, limit = Infinity, exec } = run.options;
    if (from !== undefined) parsePosition(from, "--from");
    const stop = new AbortController();
    run.defer(run.terminal.onSignal(["SIGINT", "SIGTERM"], () => stop.abort()));
    const onLeft: OnLeft = (reason, position) => {
      const where = position === undefined ? "from the current transaction" : `from position ${position}`;
      if (!run.json) void run.tell(printable(`${reason} Continuing ${where}.`));
    };
    let shown = 0;
    // The watch begins with a heartbeat, so this is known before the first transaction.
    let handled = from ?? "0";
    const onPosition = (position: Position): void => void (handled = position);
    const watched = { bucket, namespace, from, signal: stop.signal, onLeft, onPosition };
    for await (const { transaction, json } of followWatch(await openNodes(run), watched)) {
      if (exec !== undefined) await handle(exec, transaction.txId, json, handled);
      else for (const line of run.json ? [json] : changeLines(transaction)) await run.line(line);
      shown += 1;
      if (shown >= limit) break;
    }
  },
});

function changeLines({ txId, txTime, changes }: ClientTransaction<unknown>): readonly string[] {
  return changes.map(({ op, bucket, namespace, name, document }) => {
    const head = `${formatTime(txTime)}  ${txId}  ${op.padEnd(6)}  ${bucket} ${namespace}/${name}`;
    return printable(op === "put" ? `${head}  ${shorten(JSON.stringify(document))}` : head);
  });
}

/** Runs a command of the shell with the transaction on its standard input. Throws if it fails, so that no later one is handled. */
async function handle(script: string, txId: number, json: string, from: string): Promise<void> {
  const child = spawn(script, { shell: true, stdio: ["pipe", "inherit", "inherit"] });
  // A command need not read its input.
  child.stdin.on("error", () => undefined).end(`${json}\n`);
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
  if (exitCode === 0) return;
  const message = `The command failed for transaction ${txId}, with exit code ${exitCode}.`;
  const hint = `Every transaction before it was handled. Remove the cause, and continue with --from ${from}.`;
  throw new CommandError("COMMAND_FAILED", message, hint, exitCode);
}

type OnLeft = (reason: string, from: Position | undefined) => void;

const PAUSES = { firstMs: 200, maxMs: 15_000 };

/**
 * Yields every transaction after `from`, once and in order, until `signal` is aborted; if a node becomes unreachable,
 * from the next one. Throws `WATCH_COMPACTED` if no node can continue, and the last error if none ever responded. `onLeft`
 * is called with the reason when a node is abandoned, before the next node (or the same one) is tried.
 */
function followWatch(
  nodes: readonly [NodeClient, ...NodeClient[]],
  options: Omit<ClientWatchQuery, "onReconnect"> & { readonly onLeft: OnLeft },
): ReturnType<typeof followStream<unknown>> {
  const { signal, bucket, namespace, onLeft } = options;
  let [node] = nodes;
  let answered = false;
  const open = async (from: Position | undefined): Promise<AsyncIterable<string>> => {
    const query = { bucket, namespace, from };
    const stream = await node.stream({ path: "/api/v1/watch", query, signal });
    answered = true;
    return stream;
  };
  const onEnd = async (reason: unknown, failures: number, from: Position | undefined): Promise<void> => {
    if (reason instanceof WatchEndedError && reason.regressed)
      throw new CairnError("WATCH_COMPACTED", reason.message, LIST_FIRST);
    // No other node, nor the same node later, can continue.
    if (!isPassing(reason)) throw reason;
    answered ||= reason instanceof NodeError;
    // If no node has ever responded, the addresses are probably wrong.
    if (!answered && failures >= nodes.length) throw reason;
    onLeft(`${reason.message.replace(/\.$/, "")} (${node.url}).`, from);
    node = nodes[(nodes.indexOf(node) + 1) % nodes.length] ?? node;
    // The loop pauses only after every node has been tried.
    if (failures >= nodes.length) await systemClock.wait(backoffMs(failures - nodes.length, PAUSES), signal);
  };
  return followStream({ open, onEnd }, options);
}

function isPassing(reason: unknown): reason is Error {
  if (reason instanceof NodeError) return isTransient(reason);
  return reason instanceof WatchEndedError || isCairnError(reason, "NOT_READY");
}
