import { CairnError } from "@cairn/kv";
import { parseAsOf } from "../../http/requests/parameters.ts";
import { IndexStore } from "../../index/index-store.ts";
import { parseDocumentKey } from "../../text/document-key.ts";
import { type AddCommand, wholeNumber } from "../options/command-options.ts";
import { withoutHeading } from "../terminal/columns.ts";
import type { DbOptions } from "./db-copy.ts";
import { placeFirst } from "./db-place.ts";
import { describeDbCommand, withIndex } from "./db-reader.ts";
import { versionTable } from "../terminal/version-table.ts";
import { writeJson, writeJsonLines, writeLine } from "../terminal/terminal.ts";

export const addDbGet: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("get <place...>").usage("[options] [place] <bucket> <key>"),
    "Print a document",
    [
      "cairn db get ./cairn-data/node-1-index pods default/web-0",
      "cairn db get ./cairn-data/checkpoints pods web-0 --as-of 1200",
    ],
  )
    .option("--as-of <tx-or-time>", "print the document as of a transaction or a time")
    .action(async (given: readonly string[], options: DbOptions & { asOf?: string }) => {
      const [place, bucket = "", key = ""] = placeFirst(given, ["bucket", "key"], 2, options);
      const wanted = parseDocumentKey(bucket, key);
      const asOf = options.asOf === undefined ? undefined : parseAsOf(options.asOf, "--as-of");
      const found = await withIndex(place, options, terminal, async ({ kv, state }) => {
        const index = await IndexStore.open(kv, state);
        return await index.get(wanted, asOf);
      });
      if (found === undefined) throw noDocument(bucket, key, options.asOf);
      const { json, ...rest } = found;
      const document: unknown = JSON.parse(json);
      if (options.json === true) return writeJson(terminal.stdout, { ...rest, document });
      return writeLine(terminal.stdout, JSON.stringify(document, undefined, 2));
    });
};

export const addDbHistory: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("history <place...>").usage("[options] [place] <bucket> <key>"),
    "List the versions of a document, newest first",
    ["cairn db history ./cairn-data/node-1-index pods default/web-0 --limit 5"],
  )
    .option("--limit <count>", "print at most this many versions", wholeNumber("--limit", 1), 100)
    .action(async (given: readonly string[], options: DbOptions & { limit: number }) => {
      const [place, bucket = "", key = ""] = placeFirst(given, ["bucket", "key"], 2, options);
      const wanted = parseDocumentKey(bucket, key);
      await withIndex(place, options, terminal, async ({ kv, state }) => {
        const index = await IndexStore.open(kv, state);
        let cursor: string | undefined;
        let left = options.limit;
        do {
          const page = await index.history(wanted, Math.min(PAGE, left), cursor);
          if (page.versions.length === 0) throw noDocument(bucket, key, undefined);
          const versions = page.versions.map(({ json, ...version }) =>
            json === undefined ? version : { ...version, document: JSON.parse(json) as unknown },
          );
          if (options.json === true) await writeJsonLines(terminal.stdout, versions);
          else {
            const table = versionTable(versions, terminal.stdout);
            await writeLine(terminal.stdout, left === options.limit ? table : withoutHeading(table));
          }
          left -= versions.length;
          ({ cursor } = page);
        } while (cursor !== undefined && left > 0);
      });
    });
};

const PAGE = 1000;

function noDocument(bucket: string, key: string, asOf: string | undefined): CairnError {
  const when = asOf === undefined ? "" : ` as of ${asOf}`;
  return new CairnError("NOT_FOUND", `There is no ${JSON.stringify(key)} in ${bucket}${when}.`, {
    hint: "Choose one of the keys that cairn db keys PLACE BUCKET lists.",
  });
}
