import { revisionOf } from "@cairn/client/protocol";
import { splitKey } from "@cairn/client/protocol";
import {
  type AddCommand,
  describeReadCommand,
  type ReadCommandOptions,
  readQuery,
} from "../options/command-options.ts";
import { withNode } from "../options/node-address.ts";
import { documentRequest } from "../requests/documents.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";

export const addGet: AddCommand = (parent, terminal) => {
  describeReadCommand(parent.command("get <bucket> <key>"), "Print a document", [
    "cairn get pods default/web-0",
    "cairn get pods web-0 --as-of 2026-11-20T06:12:26Z",
  ])
    .option("--as-of <tx-or-time>", "print the document as of a transaction or a time")
    .action(async (bucket: string, key: string, options: ReadCommandOptions & { asOf?: string }) => {
      const { path, query } = documentRequest(bucket, key);
      const { body: document, headers } = await withNode(terminal, options, (node) =>
        node.send({ path, query: { ...query, ...readQuery(options), "as-of": options.asOf } }),
      );
      if (options.json !== true) return writeLine(terminal.stdout, JSON.stringify(document, undefined, 2));
      return writeJson(terminal.stdout, {
        bucket,
        ...splitKey(key),
        revision: revisionOf(headers),
        document,
      });
    });
};
