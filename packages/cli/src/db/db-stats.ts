import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { liveTableNames } from "@cairn/kv";
import { findState, measureRows, listDocuments, rowName } from "@cairn/engine";
import { isoTime, formatBytes, formatCount, formatNumberOf, formatTime } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { formatFields } from "../terminal/columns.ts";
import { printable, write } from "../terminal/terminal.ts";
import { copyDb, DB_OPTIONS } from "./db-copy.ts";
import { openCopy, requireWholeTables, openDb, openIndexOf } from "./db-reader.ts";
import { flag } from "../options/option-specs.ts";
import { selectionOf, selectionOptions } from "../options/selection.ts";
import { explainPrefix } from "../requests/documents.ts";
import { UsageError } from "../terminal/report-error.ts";
import { placeFirst } from "./db-place.ts";

export const addDbStats = command({
  syntax: "stats [place]",
  description: "Count rows and bytes by kind and measure the files, reading everything once",
  examples: ["cairn db stats ./cairn-data/node-1-index"],
  options: DB_OPTIONS,
  async act(run, given) {
    const copy = await copyDb(run, given);
    const { source: place, kind } = copy;
    // The files are measured before the copy is opened, because LevelDB then turns the write-ahead log into a table.
    const files = await measureFiles(copy.dir);
    await requireWholeTables(run, copy);
    const { reader } = await openCopy(run, copy);
    const state = await findState(reader);
    const rows = await measureRows(reader, state !== undefined);
    const inTables = `${formatBytes(files.tableBytes)} in ${formatNumberOf(files.tables, "table")}`;
    const fields: [string, string][] = [
      ["Place", `${place} (${kind})`],
      ["Files", `${formatBytes(files.bytes)}, ${files.tables === 0 ? "none in tables" : inTables}`],
    ];
    if (state === undefined) fields.push(["Index", "not a Cairn index"]);
    else {
      const { txId, time, log, documents, version } = state;
      const end = `transaction ${formatCount(txId)} of ${formatTime(isoTime(time))}`;
      fields.push(["Index", `${end}, version ${version}`]);
      fields.push(["Log", `${log.name} (id ${log.id})`], ["Documents", formatCount(documents)]);
    }
    const table = run.table(
      [
        ["KIND", (row) => row.kind],
        ["ROWS", (row) => formatCount(row.rows), "right"],
        ["KEYS", (row) => formatBytes(row.keyBytes), "right"],
        ["VALUES", (row) => formatBytes(row.valueBytes), "right"],
      ],
      rows,
    );
    await run.answer(
      { place, kind, files, state: state ?? null, rows },
      `${formatFields(fields)}\n\n${table}`,
    );
  },
});

async function measureFiles(dir: string) {
  const tables = await liveTableNames(dir);
  let bytes = 0;
  let tableBytes = 0;
  for (const name of await readdir(dir)) {
    const { size } = await stat(join(dir, name));
    bytes += size;
    if (tables.has(name)) tableBytes += size;
  }
  return { tables: tables.size, tableBytes, bytes };
}

export const addDbKeys = command({
  syntax: "keys [place...]",
  usage: "[options] [place] [bucket]",
  description: "Print the keys of documents, one per line, in key order",
  examples: [
    "cairn db keys ./cairn-data/node-1-index pods --namespace default --prefix web-",
    "cairn db keys ./cairn-data/node-1-index | wc -l",
  ],
  options: {
    ...DB_OPTIONS,
    ...selectionOptions("print only keys"),
    raw: flag("print the key of every row of any kind, and the size of its value"),
  },
  async act(run, given) {
    const [place, bucket] = placeFirst(given, ["bucket"], 0, run.options);
    const selection = selectionOf(run.options);
    const { prefix, ...inBucket } = selection;
    const [needsBucket] = Object.keys(inBucket);
    const { raw } = run.options;
    if (raw && (bucket ?? prefix ?? needsBucket) !== undefined)
      throw new UsageError(
        "--raw lists all rows and cannot be combined with a bucket, a namespace, a prefix or a range of keys.",
      );
    if (needsBucket !== undefined && bucket === undefined)
      throw new UsageError(
        `--${needsBucket} requires a bucket.`,
        "Name the bucket, too, after the place if one is given.",
      );
    if (raw)
      return await print(run, (await openDb(run, place)).reader.range({}), ([key, value]) => {
        const row = rowName(key);
        const bytes = value.length;
        if (run.json) return JSON.stringify({ row, key: Buffer.from(key).toString("hex"), bytes });
        return `${printable(row)} (${bytes} ${bytes === 1 ? "byte" : "bytes"})`;
      });
    const { reader } = await openIndexOf(run, place);
    let isEmpty = true;
    await print(run, listDocuments(reader, bucket, selection), (found) => {
      if (prefix !== undefined && !found.name.startsWith(prefix)) return undefined;
      isEmpty = false;
      if (run.json) return JSON.stringify({ ...found, revision: found.revision() });
      const key = `${found.namespace}/${found.name}`;
      return printable(bucket === undefined ? `${found.bucket} ${key}` : key);
    });
    // Without a bucket, there is no --namespace.
    if (isEmpty && bucket !== undefined) explainPrefix(run, selection);
  },
});

/** `line` returns undefined for rows to skip. Reads page by page, because the rows may not fit into memory. */
async function print<Row>(
  run: CommandRun,
  pages: AsyncIterable<readonly Row[]>,
  line: (row: Row) => string | undefined,
): Promise<void> {
  let isEmpty = true;
  for await (const rows of pages) {
    const lines = rows.map(line).filter((one) => one !== undefined);
    if (lines.length === 0) continue;
    await write(run.terminal.stdout, `${lines.join("\n")}\n`);
    isEmpty = false;
  }
  if (isEmpty && !run.json) await run.tell("None found. cairn db buckets lists the buckets.");
}
