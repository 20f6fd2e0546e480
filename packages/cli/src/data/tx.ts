import type { TxOutcome, ClientDocument, DocumentSelection } from "@cairn/client";
import { reasonWords, LIMITS } from "@cairn/client/protocol";
import { command, commandGroup, type CommandRun } from "../options/command.ts";
import { askNode, NODE_OPTIONS, openNode, type NodeOptions } from "../options/node-address.ts";
import { countValue, flag, wholeNumber } from "../options/option-specs.ts";
import { selectionOf, selectionOptions } from "../options/selection.ts";
import { abortedError, documentRequest, explainPrefix, pages, pathOfBucket } from "../requests/documents.ts";
import { readJsonArgument, readJsonInput } from "../terminal/input.ts";
import { formatFields } from "../terminal/columns.ts";
import { UsageError } from "../terminal/report-error.ts";
import { writeJson, printable, tell, type Terminal } from "../terminal/terminal.ts";
import { createInterface } from "node:readline";
import { formatCount, formatNumberOf } from "@cairn/text";

interface DocumentWritten {
  readonly txId: number;
  readonly existed: boolean;
}

const WRITE = {
  ...NODE_OPTIONS,
  ifRevision: countValue("<revision>", "do this only if the document is at this revision"),
};

const addPut = command({
  syntax: "put <bucket> <key> <json>",
  description: "Write a document (JSON, @file, or - for standard input)",
  examples: [
    `cairn tx put pods default/web-0 '{"cpu": 2}'`,
    "cairn tx put pods default/web-0 @web-0.json --if-revision 7",
  ],
  options: {
    ...WRITE,
    ifAbsent: { ...flag("write it only if there is no such document"), conflicts: ["ifRevision"] },
  },
  async act(run, bucket, key, json) {
    const body = await readJsonArgument(json, run.terminal);
    const { ifRevision, ifAbsent } = run.options;
    const request = { method: "PUT" as const, ...documentRequest(bucket, key), body };
    const headers = ifAbsent ? { "if-none-match": "*" } : ifMatch(ifRevision);
    const result = await askNode<DocumentWritten>(run, { ...request, headers });
    await run.answer(result, `${result.existed ? "replaced" : "created"} as transaction ${result.txId}`);
  },
});

const addDelete = command({
  syntax: "delete <bucket> [key]",
  description: "Delete a document, or all documents of a namespace, with a prefix or in a range of keys",
  examples: ["cairn tx delete pods default/web-0", "cairn tx delete pods --namespace default --prefix web-"],
  options: {
    ...WRITE,
    ...selectionOptions("delete only documents"),
    yes: flag("delete them without asking, even on a terminal"),
  },
  async act(run, bucket, key) {
    const selection = selectionOf(run.options);
    const isOne = Object.keys(selection).length === 0;
    if (isOne !== (key !== undefined) || (!isOne && run.options.ifRevision !== undefined))
      throw new UsageError(
        "Name either one document, or those of a namespace, with a prefix or in a range of keys.",
        "Give its key, optionally with --if-revision, or --namespace, --prefix, --from and --to, as many as you need, without a key.",
      );
    // A variable of a shell that is empty by mistake would otherwise mean every document.
    for (const [name, value] of Object.entries(selection))
      if (value === "")
        throw new UsageError(`--${name} must not be empty.`, `Name a value, or omit --${name}.`);
    if (key === undefined) return await deleteMatching(run, bucket, selection);
    const headers = ifMatch(run.options.ifRevision);
    const request = { method: "DELETE" as const, ...documentRequest(bucket, key), headers };
    const result = await askNode<DocumentWritten>(run, request);
    const effect = result.existed ? "deleted" : "nothing to delete; recorded";
    await run.answer(result, `${effect} as transaction ${result.txId}`);
  },
});

const REPEAT = "Run the command again to delete the others.";

/**
 * Deletes the documents of a bucket that match, as of the transaction at which the list of them begins, in transactions
 * of a page each: their keys fit into the smallest body that nodes accept by default.
 */
async function deleteMatching(
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

async function isConfirmed(terminal: Terminal, asked: string): Promise<boolean> {
  await tell(terminal, printable(asked));
  // With `terminal`, readline would take the keys, so that Ctrl-C would not end the command.
  for await (const line of createInterface({ input: terminal.stdin, terminal: false }))
    return line.trim().toLowerCase() === "yes";
  return false;
}

function ifMatch(revision: number | undefined): Readonly<Record<string, string>> {
  return revision === undefined ? {} : { "if-match": `"${revision}"` };
}

const addEvict = command({
  syntax: "evict <bucket> <key>",
  description:
    "Remove a document and its whole history permanently, so that no read ever returns any of it again",
  examples: ["cairn tx evict people default/anna", "cairn evictions"],
  options: NODE_OPTIONS,
  async act(run, bucket, key) {
    const outcome = await (await openNode(run)).transact(JSON.stringify({ ops: [["evict", bucket, key]] }));
    if (!outcome.committed) throw abortedError(outcome);
    const where = "cairn evictions shows where its bytes may still be stored";
    await run.answer(outcome, `evicted as transaction ${outcome.txId}; ${where}`);
  },
});

const addSubmit = command({
  syntax: "submit <file>",
  description: "Submit a transaction from a JSON file (- for standard input) and wait for its outcome",
  examples: [`echo '{"ops": [["delete", "pods", "default/web-0"]]}' | cairn tx submit -`],
  options: NODE_OPTIONS,
  async act(run, file) {
    const body = await readJsonInput(file, run.terminal);
    const outcome = await (await openNode(run)).transact(body);
    if (run.json) await writeJson(run.terminal.stdout, outcome);
    if (!outcome.committed) throw abortedError(outcome);
    if (!run.json) await run.line(`committed as transaction ${outcome.txId}`);
  },
});

const addShow = command({
  syntax: "show <tx>",
  description: "Show the outcome of a transaction, and the token with which it was submitted",
  examples: ["cairn tx show 17"],
  options: NODE_OPTIONS,
  async act(run, given) {
    const txId = wholeNumber(given, "<tx>", 1);
    const outcome = await askNode<TxOutcome>(run, { path: `/api/v1/tx/${txId}`, query: { by: true } });
    const { position, txTime, committed, reason, duplicateOf, by } = outcome;
    const result = committed ? "committed" : `aborted: ${reasonWords(reason)}`;
    const first = duplicateOf === undefined ? "" : `, as a duplicate of transaction ${duplicateOf}`;
    const fields = formatFields([
      ["Transaction", String(txId)],
      ["Position", position],
      ["Time", txTime],
      ["Outcome", `${result}${first}`],
      ["Token", by === undefined ? "no longer in the log" : (by ?? "none with a name")],
    ]);
    await run.answer(outcome, fields);
  },
});

export const addTx = commandGroup("tx", "Write documents", [addPut, addDelete, addEvict, addSubmit, addShow]);
