import { formatTable, shorten, withoutHeading } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeReadCommand,
  type ReadCommandOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { pages, pathOfBucket } from "../requests/documents.ts";
import { type Output, tell, writeJsonLines, writeLine } from "../terminal/terminal.ts";

interface ListOptions extends ReadCommandOptions {
  readonly namespace?: string;
  readonly prefix?: string;
  readonly limit: number;
  readonly all?: boolean;
  readonly asOf?: string;
  readonly where?: readonly string[];
  readonly transactions?: boolean;
}

interface ListedDocument {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly document: unknown;
}

export const addList: AddCommand = (parent, terminal) => {
  describeReadCommand(parent.command("list <bucket>"), "List the documents of a bucket, in key order", [
    "cairn list pods --namespace default --prefix web-",
    "cairn list executions --where state:running --where node:node-1",
    "cairn list pods --all --json > pods.ndjson",
  ])
    .option("--namespace <namespace>", "print only documents in this namespace")
    .option("--prefix <prefix>", "print only documents whose name begins with this prefix")
    .option(
      "--where <field:value>",
      "print only documents whose indexed field has this value; if the option is repeated, all must match",
      (value: string, before: readonly string[] = []) => [...before, value],
    )
    .option("--limit <count>", "print at most this many documents", wholeNumber("--limit", 1), 100)
    .option("--all", "print all documents")
    .option("--transactions", "print transactions that put the documents, one per line, for cairn load")
    .option("--as-of <tx-or-time>", "list the documents as of a transaction or a time")
    .action(async (bucket: string, options: ListOptions) => {
      const wanted = options.all === true ? Infinity : options.limit;
      const query = {
        ...readQuery(options),
        namespace: options.namespace,
        prefix: options.prefix,
        "as-of": options.asOf,
        where: options.where,
      };
      const isForPeople = options.json !== true && options.transactions !== true;
      await withNode(terminal, options, async (node) => {
        let shown = 0;
        let hasMore = false;
        const request = { path: pathOfBucket(bucket), query };
        for await (const { items, more } of pages<ListedDocument>(node, request, wanted)) {
          if (options.transactions === true) {
            await writeJsonLines(terminal.stdout, transactions(bucket, items));
          } else if (options.json === true) await writeJsonLines(terminal.stdout, items);
          else if (items.length > 0) {
            const page = table(items, terminal.stdout);
            await writeLine(terminal.stdout, shown === 0 ? page : withoutHeading(page));
          }
          shown += items.length;
          hasMore = more;
        }
        if (!isForPeople) return;
        if (shown === 0) await tell(terminal, "None found.");
        if (hasMore)
          await tell(
            terminal,
            `There are more documents. Use --limit to print more than ${wanted}, or --all to print all of them.`,
          );
      });
    });
};

/** Puts each document into a separate transaction, because a log limits the size of transactions. */
function transactions(bucket: string, documents: readonly ListedDocument[]): object[] {
  return documents.map(({ namespace, name, document }) => ({
    ops: [["put", bucket, `${namespace}/${name}`, document]],
  }));
}

const WIDEST_DOCUMENT = 200;

function table(documents: readonly ListedDocument[], output: Output): string {
  const heading = ["KEY", "REVISION", "DOCUMENT"];
  const rows = documents.map(({ namespace, name, revision, document }) => [
    `${namespace}/${name}`,
    String(revision),
    shorten(JSON.stringify(document), WIDEST_DOCUMENT),
  ]);
  return formatTable(heading, rows, ["REVISION"], output);
}
