import { DatabaseSync } from "@photostructure/sqlite";
import { OWN_TABLE, ownRow } from "../data/own-documents.ts";
import { flush } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { secondsOf } from "./own-indexes.ts";

const ROWS_PER_TRANSACTION = 1_000;

/** Writes the rows of an own index from memory into SQLite, in the order of their keys. */
export async function writeSqlite(input: {
  readonly path: string;
  readonly count: number;
  readonly text: boolean;
}): Promise<Figures> {
  const rows = Array.from({ length: input.count }, (_, index) => ownRow(index));
  const begin = performance.now();
  const cpu = process.cpuUsage();
  const database = new DatabaseSync(input.path);
  database.exec(`pragma journal_mode = wal; pragma synchronous = normal; pragma cache_size = -32768;
    ${OWN_TABLE.create}`);
  const insert = database.prepare(OWN_TABLE.insert);
  for (let from = 0; from < rows.length; from += ROWS_PER_TRANSACTION) {
    database.exec("begin immediate");
    for (const row of rows.slice(from, from + ROWS_PER_TRANSACTION)) insert.run(...(row as never[]));
    database.exec("commit");
  }
  database.exec(`begin immediate; ${OWN_TABLE.indexes}; ${input.text ? OWN_TABLE.text : ""}; commit`);
  database.close();
  await flush(input.path);
  const seconds = (performance.now() - begin) / 1_000;
  return {
    "rows/s": input.count / seconds,
    "rows/cpu s": input.count / secondsOf(process.cpuUsage(cpu)),
    s: seconds,
  };
}
