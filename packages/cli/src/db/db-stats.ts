import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { liveTableNames } from "@cairn/kv";
import { findState, measureRows } from "@cairn/engine";
import { isoTime, formatBytes, formatCount, formatNumberOf, formatTime } from "@cairn/text";
import { command } from "../options/command.ts";
import { formatFields } from "../terminal/columns.ts";
import { printableLines } from "../terminal/terminal.ts";
import { copyDb, DB_OPTIONS, DB_NOTE } from "./db-copy.ts";
import { openCopy, requireWholeTables } from "./db-reader.ts";

export const addDbStats = command({
  syntax: "stats [place]",
  description: "Count rows and bytes by kind and measure the files, reading everything once",
  examples: ["cairn db stats ./cairn-data/node-1-index"],
  options: DB_OPTIONS,
  note: DB_NOTE,
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
    const cells = rows.map((row) => [
      row.kind,
      formatCount(row.rows),
      formatBytes(row.keyBytes),
      formatBytes(row.valueBytes),
    ]);
    const table = run.table(["KIND", "ROWS", "KEYS", "VALUES"], cells, ["ROWS", "KEYS", "VALUES"]);
    await run.answer(
      { place, kind, files, state: state ?? null, rows },
      `${printableLines(formatFields(fields))}\n\n${table}`,
    );
  },
});

async function measureFiles(dir: string): Promise<{ tables: number; tableBytes: number; bytes: number }> {
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
