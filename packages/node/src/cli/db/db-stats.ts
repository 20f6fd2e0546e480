import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { liveTableNames } from "@cairn/kv";
import { type IndexState, readState } from "../../index/rows/index-state.ts";
import { measureRows, type RowMeasure } from "../../index/inspect/measure-rows.ts";
import { STATE_ROW_KEY } from "../../index/rows/row-keys.ts";
import { isoTime } from "../../text/iso-time.ts";
import { formatFields, formatTable } from "../terminal/columns.ts";
import type { AddCommand } from "../options/command-options.ts";
import { type DbCopy, type DbOptions, withDbCopy } from "./db-copy.ts";
import { describeDbCommand, openCopy, requireWholeTables } from "./db-reader.ts";
import { formatBytes, formatCount, formatNumberOf, formatTime } from "../../text/quantities.ts";
import { type Output, printableLines, writeJson, writeLine } from "../terminal/terminal.ts";

interface Stats {
  readonly place: string;
  readonly kind: DbCopy["kind"];
  readonly files: Files;
  /** The state of the index; undefined if the database is not a Cairn index. */
  readonly state: IndexState | undefined;
  readonly rows: readonly RowMeasure[];
}

interface Files {
  readonly tables: number;
  readonly tableBytes: number;
  readonly bytes: number;
}

export const addDbStats: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("stats [place]"),
    "Count rows and bytes by kind and measure the files, reading everything once",
    ["cairn db stats ./cairn-data/node-1-index"],
  ).action(async (place: string | undefined, options: DbOptions) => {
    const stats = await withDbCopy(place, options, terminal, async (copy): Promise<Stats> => {
      // The files are measured before the copy is opened, because LevelDB then turns the write-ahead log into a table.
      const files = await measureFiles(copy.dir);
      if (options.checksums) await requireWholeTables(copy, terminal);
      return await openCopy(copy, terminal, async ({ reader }) => {
        const isIndex = (await reader.get(STATE_ROW_KEY)) !== undefined;
        const state = isIndex ? await readState(reader) : undefined;
        const rows = await measureRows(reader, isIndex);
        return { place: copy.source, kind: copy.kind, files, state, rows };
      });
    });
    if (options.json === true) return writeJson(terminal.stdout, { ...stats, state: stats.state ?? null });
    await writeLine(terminal.stdout, printableLines(formatFields(fields(stats))));
    return writeLine(terminal.stdout, `\n${table(stats.rows, terminal.stdout)}`);
  });
};

async function measureFiles(dir: string): Promise<Files> {
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

function fields({ place, kind, files, state }: Stats): [string, string][] {
  const { tables, tableBytes, bytes } = files;
  const inTables =
    tables === 0 ? "none in tables" : `${formatBytes(tableBytes)} in ${formatNumberOf(tables, "table")}`;
  const shown: [string, string][] = [
    ["Place", `${place} (${kind})`],
    ["Files", `${formatBytes(bytes)}, ${inTables}`],
  ];
  if (state === undefined) return [...shown, ["Index", "not a Cairn index"]];
  const { txId, time, log, documents, version } = state;
  return [
    ...shown,
    ["Index", `transaction ${formatCount(txId)} of ${formatTime(isoTime(time))}, version ${version}`],
    ["Log", `${log.name} (id ${log.id})`],
    ["Documents", formatCount(documents)],
  ];
}

function table(rows: readonly RowMeasure[], output: Output): string {
  const cells = rows.map((row) => [
    row.kind,
    formatCount(row.rows),
    formatBytes(row.keyBytes),
    formatBytes(row.valueBytes),
  ]);
  return formatTable(["KIND", "ROWS", "KEYS", "VALUES"], cells, ["ROWS", "KEYS", "VALUES"], output);
}
