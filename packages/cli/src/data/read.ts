import type { BucketSummary, ClientDocument } from "@cairn/client";
import { revisionOf, splitKey } from "@cairn/client/protocol";
import { formatCount, formatNumberOf } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { READ_OPTIONS, readNode, readQuery } from "../options/node-address.ts";
import { countValue, flag, type OptionSpec, repeatedValue, textValue } from "../options/option-specs.ts";
import { selectionOf, selectionOptions } from "../options/selection.ts";
import { documentRequest, explainPrefix, pages, pathOfBucket } from "../requests/documents.ts";
import { DOCUMENT_OPTIONS, openReads } from "./document-reads.ts";
import { type Column, shorten } from "../terminal/columns.ts";
import { type ParsedVersion, VERSION_COLUMNS } from "../terminal/version-table.ts";

export const addGet = command({
  syntax: "get <bucket> <key>",
  description: "Print a document",
  examples: [
    "cairn get pods default/web-0",
    "cairn get pods web-0 --as-of 2026-11-20T06:12:26Z",
    "cairn get pods web-0 --checkpoint s3://bucket/prefix",
  ],
  options: {
    ...DOCUMENT_OPTIONS,
    asOf: textValue("<tx-or-time>", "print the document as of a transaction or a time"),
  },
  async act(run, bucket, key) {
    const { path, query } = documentRequest(bucket, key);
    const node = await openReads(run);
    const more = { ...readQuery(run.options), "as-of": run.options.asOf };
    const { body: document, headers } = await node.send({ path, query: { ...query, ...more } });
    const found = { bucket, ...splitKey(key), revision: revisionOf(headers), document };
    await run.answer(found, JSON.stringify(document, undefined, 2));
  },
});

const SHOWN_ON_TERMINAL = 100;

function limitOf(things: string): OptionSpec<number | undefined> {
  const fallback = `default: ${SHOWN_ON_TERMINAL} on a terminal; all in a pipe and with --json`;
  return countValue("<count>", `print at most this many ${things} (${fallback})`);
}

/** Returns how many items to print. A program must not take the first ones for all. */
function wantedOf({ options, json, terminal }: CommandRun<{ readonly limit: number | undefined }>): number {
  return options.limit ?? (json || terminal.stdout.isTTY !== true ? Infinity : SHOWN_ON_TERMINAL);
}

export const addHistory = command({
  syntax: "history <bucket> <key>",
  description: "List the versions of a document, newest first",
  examples: ["cairn history pods default/web-0 --limit 5"],
  options: { ...DOCUMENT_OPTIONS, limit: limitOf("versions") },
  async act(run, bucket, key) {
    const { path, query: document } = documentRequest(bucket, key);
    const query = { ...document, ...readQuery(run.options), history: true };
    const wanted = wantedOf(run);
    let isFirst = true;
    let hasMore = false;
    for await (const { items, more } of pages<ParsedVersion>(await openReads(run), { path, query }, wanted)) {
      await run.page(items, run.table(VERSION_COLUMNS, items), isFirst);
      isFirst = false;
      hasMore = more;
    }
    if (hasMore && !run.json)
      await run.tell(`There are older versions. Use --limit to print more than ${wanted}.`);
  },
});

const COLUMNS: readonly Column<ClientDocument<unknown>>[] = [
  ["KEY", ({ namespace, name }) => `${namespace}/${name}`],
  ["REVISION", ({ revision }) => String(revision), "right"],
  ["DOCUMENT", ({ document }) => shorten(JSON.stringify(document))],
];

export const addList = command({
  syntax: "list <bucket>",
  description: "List the documents of a bucket",
  examples: [
    "cairn list pods --namespace default --prefix web-",
    "cairn list readings --from default/2026-11-20 --to default/2026-11-21",
    "cairn list executions --where state:running --where node:node-1",
    "cairn list people --where 'age>=18' --order -age",
    "cairn list pods --json > pods.ndjson",
  ],
  options: {
    ...DOCUMENT_OPTIONS,
    ...selectionOptions("print only documents"),
    where: repeatedValue(
      "<condition>",
      "print only documents whose indexed field has this value (state:running) or is in this range (age>=18); if the option is repeated, all must match",
    ),
    order: textValue("<field>", "print in the order of this indexed field, or in reverse with - before it"),
    limit: limitOf("documents"),
    all: flag("print all documents, on a terminal as well"),
    asOf: textValue("<tx-or-time>", "list the documents as of a transaction or a time"),
  },
  async act(run, bucket) {
    const { where, order, all, asOf } = run.options;
    const selection = selectionOf(run.options);
    const wanted = all ? Infinity : wantedOf(run);
    const query = { ...readQuery(run.options), ...selection, "as-of": asOf, where, order };
    const request = { path: pathOfBucket(bucket), query };
    let shown = 0;
    let hasMore = false;
    for await (const { items, more } of pages<ClientDocument<unknown>>(
      await openReads(run),
      request,
      wanted,
    )) {
      await run.page(items, run.table(COLUMNS, items), shown === 0);
      shown += items.length;
      hasMore = more;
    }
    if (shown === 0 && !run.json) await run.tell("None found.");
    if (shown === 0) explainPrefix(run, selection);
    if (hasMore && !run.json)
      await run.tell(
        `There are more documents. Use --limit to print more than ${wanted}, or --all to print all of them.`,
      );
  },
});

export const addBuckets = command({
  syntax: "buckets",
  description: "List the buckets with their documents and indexed fields",
  examples: ["cairn buckets", "cairn buckets --json | jq .fields"],
  options: READ_OPTIONS,
  async act(run) {
    await run.list(await readNode<BucketSummary[]>(run, "/api/v1/buckets"), [
      ["BUCKET", ({ name }) => name],
      ["DOCUMENTS", ({ documents }) => formatCount(documents), "right"],
      ["INDEXED FIELDS", ({ fields }) => Object.entries(fields).map(fieldText).join(", ") || "none"],
    ]);
  },
});

function fieldText([name, { counts, more }]: readonly [
  name: string,
  field: BucketSummary["fields"][string],
]): string {
  if (counts === null) return `${name} (being built)`;
  const values = formatNumberOf(Object.keys(counts).length, "value");
  return `${name} (${more ? "more than " : ""}${values})`;
}
