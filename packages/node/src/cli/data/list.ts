import { formatTable, shorten, withoutHeading } from "../terminal/columns.ts";
import {
  type AddCommand,
  describeReadCommand,
  type ReadOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { bucketPath, pages } from "../requests/documents.ts";
import { type Output, printable, write, writeLine, tell } from "../terminal/terminal.ts";

interface ListOptions extends ReadOptions {
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

const PAGE = 1000;

/** `cairn list`. */
export const addList: AddCommand = (parent, terminal) => {
  describeReadCommand(parent.command("list <bucket>"), "List the documents of a bucket, in key order", [
    "cairn list pods --namespace default --prefix web-",
    "cairn list executions --where state:running --where node:node-1",
    "cairn list pods --all --json > pods.ndjson",
  ])
    .option("--namespace <namespace>", "only of this namespace")
    .option("--prefix <prefix>", "only names that begin with it")
    .option(
      "--where <field:value>",
      "only those whose indexed field has the value; given several times, all have to hold",
      (value: string, before: readonly string[] = []) => [...before, value],
    )
    .option("--limit <count>", "at most so many", wholeNumber("--limit", 1), 100)
    .option("--all", "all of them")
    .option("--transactions", "as transactions that put them, one a line, for cairn load")
    .option("--as-of <tx-or-time>", "as they were at a transaction or a time")
    .action(async (bucket: string, options: ListOptions) => {
      const wanted = options.all === true ? Infinity : options.limit;
      const query = {
        ...readQuery(options),
        namespace: options.namespace,
        prefix: options.prefix,
        "as-of": options.asOf,
        where: options.where,
        limit: String(Math.min(PAGE, wanted)),
      };
      const isForPeople = options.json !== true && options.transactions !== true;
      await withNode(terminal, options, async (node) => {
        let shown = 0;
        for await (const { items, more } of pages(node, { path: bucketPath(bucket), query })) {
          const part = items.slice(0, wanted - shown) as ListedDocument[];
          if (options.transactions === true) await write(terminal.stdout, transactions(bucket, part));
          else if (options.json === true) await write(terminal.stdout, ndjson(part));
          else if (part.length > 0) {
            const page = table(part, terminal.stdout);
            await writeLine(terminal.stdout, shown === 0 ? page : withoutHeading(page));
          }
          shown += part.length;
          if (shown < wanted) continue;
          if ((more || part.length < items.length) && isForPeople) {
            await tell(terminal, `There are more: --limit shows more than ${wanted}, --all all.`);
          }
          break;
        }
        if (shown === 0 && isForPeople) await tell(terminal, "There are none.");
      });
    });
};

function ndjson(documents: readonly ListedDocument[]): string {
  return documents.map((document) => `${JSON.stringify(document)}\n`).join("");
}

/** Each document in a transaction of its own, which a log of any size takes. */
function transactions(bucket: string, documents: readonly ListedDocument[]): string {
  return documents
    .map(({ namespace, name, document }) => {
      const ops = [["put", bucket, `${namespace}/${name}`, document]];
      return `${JSON.stringify({ ops })}\n`;
    })
    .join("");
}

const WIDEST_DOCUMENT = 200;
const SHORTEST_KEY = 16;

function table(documents: readonly ListedDocument[], output: Output): string {
  const heading = ["KEY", "REVISION", "DOCUMENT"];
  const rows = documents.map(({ namespace, name, revision, document }) => [
    printable(`${namespace}/${name}`),
    String(revision),
    shorten(JSON.stringify(document), WIDEST_DOCUMENT),
  ]);
  const { columns = 0 } = output;
  // A terminal that does not know its width has 0.
  if (output.isTTY !== true || columns === 0) return formatTable(heading, rows, ["REVISION"]);
  const longest = Math.max(...rows.map(([, revision = ""]) => revision.length), "REVISION".length);
  // A long key leaves the document half of the line.
  const widest = Math.max(SHORTEST_KEY, Math.floor((columns - longest - 4) / 2));
  const cut = rows.map(([key = "", ...rest]) => [shorten(key, widest), ...rest]);
  return formatTable(heading, cut, ["REVISION"])
    .split("\n")
    .map((line) => shorten(line, columns))
    .join("\n");
}
