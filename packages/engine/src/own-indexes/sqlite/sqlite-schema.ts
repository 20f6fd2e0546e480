import { KEY_COLUMNS, type SqliteTable, type SqliteTables, textTable } from "./sqlite-options.ts";

/*
 * The tables of an index. `cairn_position` has one row: the position, null until a build is complete, and the
 * definition of the tables. A table has the documents of a bucket, and its full text index refers to its rows by their
 * rowid: it is an external content table, so it stores no text again.
 */

/** Raised when the same options lead to other tables. */
const LAYOUT = 1;

/** Returns what a file must have been made from to be used. */
export function definitionOf(tables: SqliteTables): string {
  return JSON.stringify([LAYOUT, tables]);
}

export const POSITION_TABLE =
  "create table if not exists cairn_position (position text, tables text not null)";

/** A configured name may be a word of SQL, and contains no quote. */
const quoted = (name: string): string => `"${name}"`;
const list = (names: readonly string[]): string => names.map(quoted).join(", ");

function columnsOf(table: SqliteTable): readonly string[] {
  return [...KEY_COLUMNS, ...Object.keys(table.columns)];
}

/** Returns the statements that begin a build: they remove the tables, and create them empty. */
export function emptyTables(tables: SqliteTables): string {
  return statements(tables, (name, table) => [
    `drop table if exists ${quoted(textTable(name))}`,
    `drop table if exists ${quoted(name)}`,
    `create table ${quoted(name)} (namespace text not null, name text not null, revision integer not null, tx_time text not null${Object.keys(
      table.columns,
    )
      .map((column) => `, ${quoted(column)}`)
      .join("")}, primary key (namespace, name))`,
  ]);
}

/** Returns the statements that complete a build: indexes that are made from all rows at once take a third of the time. */
export function secondaryIndexes(tables: SqliteTables): string {
  return statements(tables, (name, { indexes = [], text = [] }) => [
    ...indexes.map((columns, n) => `create index cairn_${name}_${n} on ${quoted(name)} (${list(columns)})`),
    ...(text.length === 0 ? [] : fullText(name, text)),
  ]);
}

function fullText(table: string, text: readonly string[]): readonly string[] {
  const index = quoted(textTable(table));
  const columns = ["rowid", "namespace", "name", ...text];
  const row = (which: "new" | "old"): string =>
    columns.map((column) => `${which}.${quoted(column)}`).join(", ");
  const add = `insert into ${index} (${list(columns)}) values (${row("new")});`;
  const remove = `insert into ${index} (${index}, ${list(columns)}) values ('delete', ${row("old")});`;
  const changed = text.map((column) => `old.${quoted(column)} is not new.${quoted(column)}`).join(" or ");
  const trigger = (on: string, when: string, work: string): string =>
    `create trigger cairn_${table}_${on} after ${on} on ${quoted(table)} ${when} begin ${work} end`;
  return [
    `create virtual table ${index} using fts5 (namespace unindexed, name unindexed, ${list(text)}, content=${quoted(table)})`,
    `insert into ${index} (${index}) values ('rebuild')`,
    trigger("insert", "", add),
    trigger("delete", "", remove),
    trigger("update", `when ${changed}`, `${remove} ${add}`),
  ];
}

/** Returns the statements after which full text indexes contain nothing of rows that were removed. */
export function mergedTexts(tables: SqliteTables): string {
  return statements(tables, (name, { text = [] }) => {
    const index = quoted(textTable(name));
    return text.length === 0 ? [] : [`insert into ${index} (${index}) values ('optimize')`];
  });
}

export function putRow(name: string, table: SqliteTable, isNegated: readonly boolean[] = []): string {
  const columns = columnsOf(table);
  const values = columns
    .map((_, at) => (isNegated[at - KEY_COLUMNS.length] === true ? "-?" : "?"))
    .join(", ");
  const changed = columns.slice(2).map((column) => `${quoted(column)} = excluded.${quoted(column)}`);
  return `insert into ${quoted(name)} (${list(columns)}) values (${values}) on conflict (namespace, name) do update set ${changed.join(", ")}`;
}

export function deleteRows(name: string, columns: readonly ("namespace" | "name")[]): string {
  const conditions = columns.map((column) => ` and ${column} = ?`);
  return `delete from ${quoted(name)} where true${conditions.join("")}`;
}

export function rowsInOrder(name: string, table: SqliteTable): string {
  return `select ${list(columnsOf(table))} from ${quoted(name)} order by namespace, name`;
}

/** Returns the tables and their columns, for whoever has mistyped one. */
export function describeTables(tables: SqliteTables): string {
  return Object.entries(tables)
    .flatMap(([name, table]) => [
      `${name} (${columnsOf(table).join(", ")})`,
      ...(table.text !== undefined && table.text.length > 0
        ? [`${textTable(name)} (${["namespace", "name", ...(table.text ?? [])].join(", ")})`]
        : []),
    ])
    .join("; ");
}

function statements(
  tables: SqliteTables,
  of: (name: string, table: SqliteTable) => readonly string[],
): string {
  return Object.entries(tables)
    .flatMap(([name, table]) => of(name, table))
    .map((statement) => `${statement};`)
    .join("\n");
}
