import { CairnError } from "@cairn/kv";
import type { TxOutcome } from "@cairn/client";
import { reasonWords } from "@cairn/client/protocol";
import {
  type AddCommand,
  addGroup,
  describeNodeCommand,
  type NodeOptions,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { documentRequest } from "../requests/documents.ts";
import { readJsonArgument, readJsonInput } from "../terminal/input.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";

interface WriteOptions extends NodeOptions {
  readonly ifRevision?: number;
  readonly ifAbsent?: boolean;
}

export const addTx: AddCommand = (parent, terminal) => {
  const group = addGroup(parent, "tx", "Write documents");

  describeNodeCommand(
    group.command("put <bucket> <key> <json>"),
    "Write a document (JSON, @file, or - for standard input)",
    [
      `cairn tx put pods default/web-0 '{"cpu": 2}'`,
      "cairn tx put pods default/web-0 @web-0.json --if-revision 7",
    ],
  )
    .option(
      "--if-revision <revision>",
      "do this only if the document is at this revision",
      wholeNumber("--if-revision", 1),
    )
    .option("--if-absent", "write it only if there is no such document")
    .action(async (bucket: string, key: string, json: string, options: WriteOptions) => {
      const body = await readJsonArgument(json, terminal);
      await writeDocument(terminal, "PUT", bucket, key, body, options);
    });

  describeNodeCommand(group.command("delete <bucket> <key>"), "Delete a document", [
    "cairn tx delete pods default/web-0",
  ])
    .option(
      "--if-revision <revision>",
      "do this only if the document is at this revision",
      wholeNumber("--if-revision", 1),
    )
    .action((bucket: string, key: string, options: WriteOptions) =>
      writeDocument(terminal, "DELETE", bucket, key, undefined, options),
    );

  describeNodeCommand(
    group.command("evict <bucket> <key>"),
    "Remove a document and its whole history permanently, so that no read ever returns any of it again",
    ["cairn tx evict people default/anna", "cairn evictions"],
  ).action(async (bucket: string, key: string, options: NodeOptions) => {
    const body = JSON.stringify({ ops: [["evict", bucket, key]] });
    const outcome = await submit(body, options, terminal);
    if (options.json === true) return writeJson(terminal.stdout, outcome);
    const where = "cairn evictions shows where its bytes may still be stored";
    return writeLine(terminal.stdout, `evicted as transaction ${outcome.txId}; ${where}`);
  });

  describeNodeCommand(
    group.command("submit <file>"),
    "Submit a transaction from a JSON file (- for standard input) and wait for its outcome",
    [`echo '{"ops": [["delete", "pods", "default/web-0"]]}' | cairn tx submit -`],
  ).action(async (file: string, options: NodeOptions) => {
    const body = await readJsonInput(file, terminal);
    const onAborted =
      options.json === true ? (outcome: TxOutcome) => writeJson(terminal.stdout, outcome) : undefined;
    const outcome = await submit(body, options, terminal, onAborted);
    if (options.json === true) return writeJson(terminal.stdout, outcome);
    return writeLine(terminal.stdout, `committed as transaction ${outcome.txId}`);
  });

  describeNodeCommand(
    group.command("show <tx>"),
    "Show the outcome of a transaction, and the token with which it was submitted",
    ["cairn tx show 17"],
  ).action(async (text: string, options: NodeOptions) => {
    const txId = wholeNumber("<tx>", 1)(text);
    const outcome = (await withNode(terminal, options, (node) =>
      node.json({ path: `/api/v1/tx/${txId}`, query: { by: true } }),
    )) as TxOutcome;
    if (options.json === true) return writeJson(terminal.stdout, outcome);
    return writeLine(terminal.stdout, outcomeText(outcome));
  });
};

function outcomeText({ txId, txTime, committed, reason, duplicateOf, by }: TxOutcome): string {
  const result = committed ? "committed" : `aborted: ${reasonWords(reason)}`;
  const first = duplicateOf === undefined ? "" : `, as a duplicate of transaction ${duplicateOf}`;
  const writer = by === undefined ? "no longer in the log" : by === null ? "none with a name" : by;
  return `Transaction  ${txId}\nTime         ${txTime}\nOutcome      ${result}${first}\nToken        ${writer}`;
}

/** Submits a transaction and waits for its outcome. Throws `CONFLICT` if it was aborted, after calling `onAborted`. */
async function submit(
  body: string,
  options: NodeOptions,
  terminal: Terminal,
  onAborted?: (outcome: TxOutcome) => Promise<void>,
): Promise<TxOutcome> {
  const outcome = (await withNode(terminal, options, (node) =>
    node.json({ method: "POST", path: "/api/v1/tx", query: { await: true }, body }),
  )) as TxOutcome;
  const { txId, committed, reason } = outcome;
  if (committed) return outcome;
  await onAborted?.(outcome);
  throw new CairnError("CONFLICT", `Transaction ${txId} was aborted: ${reasonWords(reason)}.`, {
    hint: "Correct the transaction and submit it again. None of its operations took effect.",
  });
}

async function writeDocument(
  terminal: Terminal,
  method: "PUT" | "DELETE",
  bucket: string,
  key: string,
  body: string | undefined,
  { ifRevision, ifAbsent, ...options }: WriteOptions,
): Promise<void> {
  if (ifRevision !== undefined && ifAbsent === true) {
    throw new UsageError("--if-revision and --if-absent cannot be combined.");
  }
  const headers = {
    ...(ifRevision === undefined ? {} : { "if-match": `"${ifRevision}"` }),
    ...(ifAbsent === true ? { "if-none-match": "*" } : {}),
  };
  const result = (await withNode(terminal, options, (node) =>
    node.json({
      method,
      ...documentRequest(bucket, key),
      headers,
      ...(body === undefined ? {} : { body }),
    }),
  )) as { txId: number; existed: boolean };
  if (options.json === true) return writeJson(terminal.stdout, result);
  return writeLine(terminal.stdout, `${effect(method, result.existed)} as transaction ${result.txId}`);
}

function effect(method: "PUT" | "DELETE", existed: boolean): string {
  if (method === "PUT") return existed ? "replaced" : "created";
  return existed ? "deleted" : "nothing to delete; recorded";
}
