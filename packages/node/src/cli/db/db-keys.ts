import type { KvRange, KvRow } from "@cairn/kv";
import { documentRowPrefix, parseDocumentRowKey, prefixEnd, ROW } from "../../index/rows/row-keys.ts";
import { rowName } from "../../index/rows/row-names.ts";
import { checkedVersion, versionValueRevision } from "../../index/rows/version-values.ts";
import { type AddCommand, wholeNumber } from "../options/command-options.ts";
import type { DbOptions } from "./db-copy.ts";
import { placeFirst } from "./db-place.ts";
import { describeDbCommand, type OpenedDb, withDb, withIndex } from "./db-reader.ts";
import { UsageError } from "../terminal/report-error.ts";
import { printable, type Terminal, tell, write } from "../terminal/terminal.ts";

interface KeysOptions extends DbOptions {
  readonly namespace?: string;
  readonly prefix?: string;
  readonly limit?: number;
  readonly raw?: boolean;
}

export const addDbKeys: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("keys [place...]").usage("[options] [place] [bucket]"),
    "Print the keys of documents, one per line, in key order",
    [
      "cairn db keys ./cairn-data/node-1-index pods --namespace default --prefix web-",
      "cairn db keys ./cairn-data/node-1-index | wc -l",
    ],
  )
    .option("--namespace <namespace>", "print only keys in this namespace (requires a bucket)")
    .option("--prefix <prefix>", "print only keys whose name begins with this prefix")
    .option("--limit <count>", "print at most this many keys (default: all)", wholeNumber("--limit", 1))
    .option("--raw", "print the key of every row of any kind, and the size of its value")
    .action(async (given: readonly string[], options: KeysOptions) => {
      const [place, bucket] = placeFirst(given, ["bucket"], 0, options);
      const { namespace, prefix, raw } = options;
      if (raw === true && (bucket ?? namespace ?? prefix) !== undefined) {
        throw new UsageError(
          "--raw lists all rows and cannot be combined with a bucket, a namespace or a prefix.",
        );
      }
      if (namespace !== undefined && bucket === undefined) {
        throw new UsageError(
          "--namespace requires a bucket.",
          "Write: cairn db keys PLACE BUCKET --namespace NAMESPACE",
        );
      }
      if (raw === true) {
        return await withDb(place, options, terminal, (db) => print(db, {}, rawLine, options, terminal));
      }
      const begin = bucket === undefined ? Buffer.from([ROW.document]) : rowPrefix(bucket, namespace, prefix);
      const range = { gte: begin, lt: prefixEnd(begin) };
      return await withIndex(place, options, terminal, (db) =>
        print(db, range, (row) => keyLine(row, bucket, options), options, terminal),
      );
    });
};

function rowPrefix(bucket: string, namespace: string | undefined, prefix: string | undefined): Buffer {
  return namespace === undefined ? documentRowPrefix(bucket) : documentRowPrefix(bucket, namespace, prefix);
}

/** `line` returns undefined for rows to skip. Reads page by page, because the rows may not fit into memory. */
async function print(
  { reader }: OpenedDb,
  range: KvRange,
  line: (row: KvRow, options: KeysOptions) => string | undefined,
  options: KeysOptions,
  terminal: Terminal,
): Promise<void> {
  const { limit = Infinity } = options;
  let printed = 0;
  for await (const rows of reader.range(range)) {
    let text = "";
    for (const row of rows) {
      const found = printed < limit ? line(row, options) : undefined;
      if (found === undefined) continue;
      text += `${found}\n`;
      printed += 1;
    }
    if (text !== "") await write(terminal.stdout, text);
    if (printed >= limit) break;
  }
  if (printed === 0 && options.json !== true) {
    await tell(terminal, "None found. cairn db buckets PLACE lists the buckets.");
  }
}

function keyLine(
  [key, value]: KvRow,
  bucket: string | undefined,
  { prefix, namespace, json }: KeysOptions,
): string | undefined {
  const found = parseDocumentRowKey(key);
  if (namespace === undefined && prefix !== undefined && !found.name.startsWith(prefix)) return undefined;
  if (json === true)
    return JSON.stringify({ ...found, revision: versionValueRevision(checkedVersion(key, value)) });
  const inBucket = `${found.namespace}/${found.name}`;
  return printable(bucket === undefined ? `${found.bucket} ${inBucket}` : inBucket);
}

function rawLine([key, value]: KvRow, { json }: KeysOptions): string {
  if (json !== true)
    return `${printable(rowName(key))} (${value.length} ${value.length === 1 ? "byte" : "bytes"})`;
  return JSON.stringify({ row: rowName(key), key: Buffer.from(key).toString("hex"), bytes: value.length });
}
