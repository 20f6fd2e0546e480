import { startNode, type StartNodeOptions } from "@cairn/node";

/** Writes a note at a node that keeps all notes in SQLite, and returns those with a word, and how many each day has. */
export async function run(id: string, dir: string, options: StartNodeOptions = {}): Promise<unknown[]> {
  const tables = { notes: { bucket: "notes", columns: { text: "text" }, text: ["text"] } };
  const sqlite = { "cairn/module": "cairn.sqlite/->index", driver: "@photostructure/sqlite" };
  const indexes = { "cairn/indexes": { notes: { ...sqlite, tables, ready: "waits" } } };
  const log = { "cairn/tx-log": { path: `${dir}/log` }, "cairn/http-server": null };
  await using node = await startNode({ "cairn/node": { id, dir }, ...log, ...indexes }, options);
  const client = node.client();
  await client.put("notes", id, { text: `A cairn by ${id}` });
  const found = await client.sql("notes", "select name from notes_text where notes_text match ?", ["cairn"]);
  const perDay = await client.sql("notes", "select substr(tx_time, 1, 10), count(*) from notes group by 1");
  await node.checkpoint().done;
  return [found.rows, perDay.rows];
}
