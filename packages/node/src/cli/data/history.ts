import {
  type AddCommand,
  describeReadCommand,
  type ReadCommandOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { withoutHeading } from "../terminal/columns.ts";
import { documentRequest, pages } from "../requests/documents.ts";
import { writeJsonLines, writeLine } from "../terminal/terminal.ts";
import { type ParsedVersion, versionTable } from "../terminal/version-table.ts";

export const addHistory: AddCommand = (parent, terminal) => {
  describeReadCommand(
    parent.command("history <bucket> <key>"),
    "List the versions of a document, newest first",
    ["cairn history pods default/web-0 --limit 5"],
  )
    .option("--limit <count>", "print at most this many versions", wholeNumber("--limit", 1), 100)
    .action(async (bucket: string, key: string, options: ReadCommandOptions & { limit: number }) => {
      const { path, query: document } = documentRequest(bucket, key);
      const query = { ...document, ...readQuery(options), history: true };
      await withNode(terminal, options, async (node) => {
        let isFirst = true;
        for await (const { items } of pages<ParsedVersion>(node, { path, query }, options.limit)) {
          if (options.json === true) {
            await writeJsonLines(terminal.stdout, items);
          } else if (items.length > 0) {
            const page = versionTable(items, terminal.stdout);
            await writeLine(terminal.stdout, isFirst ? page : withoutHeading(page));
          }
          isFirst = false;
        }
      });
    });
};
