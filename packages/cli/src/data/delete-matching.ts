import { createInterface } from "node:readline";
import type { ClientDocument, DocumentSelection } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import { formatCount, formatNumberOf } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { type NodeOptions, openNode } from "../options/node-address.ts";
import { abortedError, explainPrefix, pages, pathOfBucket } from "../requests/documents.ts";
import { printable, tell, type Terminal } from "../terminal/terminal.ts";

const REPEAT = "Run the command again to delete the others.";

/**
 * Deletes the documents of a bucket that match, as of the transaction at which the list of them begins, in transactions
 * of a page each: their keys fit into the smallest body that nodes accept by default.
 */
export async function deleteMatching(
  run: CommandRun<NodeOptions & { readonly yes: boolean }>,
  bucket: string,
  filter: DocumentSelection,
): Promise<void> {
  const path = pathOfBucket(bucket);
  const isAsked = run.terminal.stdin.isTTY === true && !run.options.yes;
  if (isAsked && !(await isConfirmed(run.terminal, question(bucket, filter)))) {
    return await run.tell("Nothing was deleted.");
  }
  const node = await openNode(run);
  const signal = run.interruptible("a part of the documents was deleted", REPEAT);
  const display = run.progress("deleting", undefined, formatCount);
  let documents = 0;
  let lastTxId: number | null = null;
  const request = { path, query: { ...filter } };
  const listed = pages<ClientDocument<unknown>>(node, request, Infinity, () => LIMITS.defaultPageItems);
  for await (const { items } of listed) {
    if (signal.aborted) break;
    if (items.length === 0) continue;
    const ops = items.map(({ namespace, name }) => ["delete", bucket, `${namespace}/${name}`]);
    const outcome = await node.transact(JSON.stringify({ ops }));
    if (!outcome.committed) throw abortedError(outcome);
    lastTxId = outcome.txId;
    documents += items.length;
    display.update(documents, `last transaction ${lastTxId}`);
  }
  const what = formatNumberOf(documents, "document");
  run.throwIfInterrupted(`${what} ${documents === 1 ? "was" : "were"} deleted`, REPEAT);
  const last = lastTxId === null ? "" : `, last transaction ${lastTxId}`;
  await run.answer({ documents, lastTxId }, `deleted ${what}${last}`);
  if (documents === 0) explainPrefix(run, filter);
}

function question(bucket: string, { namespace, prefix, from, to }: DocumentSelection): string {
  const where = namespace === undefined ? "" : ` in the namespace ${JSON.stringify(namespace)}`;
  const which = prefix === undefined ? "" : ` whose name begins with ${JSON.stringify(prefix)}`;
  const begin = from === undefined ? "" : ` from ${JSON.stringify(from)} on`;
  const end = to === undefined ? "" : ` before ${JSON.stringify(to)}`;
  return `Delete all documents of ${bucket}${where}${which}${begin}${end}? Write yes to delete them:`;
}

/** Returns whether a person agrees. */
async function isConfirmed(terminal: Terminal, asked: string): Promise<boolean> {
  await tell(terminal, printable(asked));
  // With `terminal`, readline would take the keys, so that Ctrl-C would not end the command.
  for await (const line of createInterface({ input: terminal.stdin, terminal: false }))
    return line.trim().toLowerCase() === "yes";
  return false;
}
