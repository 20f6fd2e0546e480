import {
  type AddCommand,
  describeReadCommand,
  type ReadOptions,
  readQuery,
  wholeNumber,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { withoutHeading } from "../terminal/columns.ts";
import { documentRequest, pages, type TellableVersion, versionTable } from "../requests/documents.ts";
import { write, writeLine } from "../terminal/terminal.ts";

/** `cairn history`. */
export const addHistory: AddCommand = (parent, terminal) => {
  describeReadCommand(
    parent.command("history <bucket> <key>"),
    "List the versions of a document, newest first",
    ["cairn history pods default/web-0 --limit 5"],
  )
    .option("--limit <count>", "at most so many", wholeNumber("--limit", 1), 100)
    .action(async (bucket: string, key: string, options: ReadOptions & { limit: number }) => {
      const { path, query: about } = documentRequest(bucket, key);
      const limit = String(Math.min(1000, options.limit));
      const query = { ...about, ...readQuery(options), history: "true", limit };
      await withNode(terminal, options, async (node) => {
        let left = options.limit;
        for await (const { items } of pages(node, { path, query })) {
          const versions = items.slice(0, left) as TellableVersion[];
          if (options.json === true) {
            await write(terminal.stdout, versions.map((version) => `${JSON.stringify(version)}\n`).join(""));
          } else if (versions.length > 0) {
            const page = versionTable(versions);
            await writeLine(terminal.stdout, left === options.limit ? page : withoutHeading(page));
          }
          left -= versions.length;
          if (left <= 0) break;
        }
      });
    });
};
