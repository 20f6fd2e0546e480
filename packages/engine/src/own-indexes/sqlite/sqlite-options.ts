import { ThreadModule } from "@cairn/kv/threads";
import { didYouMean, nearestName } from "@cairn/text";

export const SQLITE_INDEX_MODULE = {
  url: new ThreadModule(import.meta.url, "sqlite-index-worker").url,
  export: "createSqliteIndex",
} as const;

export interface SqliteIndexOptions {
  readonly tables: SqliteTables;
  /** The URL of a module with the API of `node:sqlite`, which is the default. */
  readonly driver?: string;
}

export type SqliteTables = Readonly<Record<string, SqliteTable>>;

export interface SqliteTable {
  readonly bucket: string;
  /** The path of each column's value: names of members, separated by dots; or {@link WHOLE_DOCUMENT}. */
  readonly columns: Readonly<Record<string, string>>;
  /** The columns of each secondary index. */
  readonly indexes?: readonly (readonly string[])[];
  /** The columns of the full text index, the table `<name>_text`. */
  readonly text?: readonly string[];
}

/** What is wrong with the value at a path of the options, as a clause without a period. */
export interface SqliteProblem {
  readonly path: readonly (string | number)[];
  readonly problem: string;
  readonly hint: string;
}

/** The path of the whole document, as in the paths of SQLite. */
export const WHOLE_DOCUMENT = "$";

/** The columns that every table has, before those of the configuration. */
export const KEY_COLUMNS = ["namespace", "name", "revision", "tx_time"] as const;

const IDENTIFIER = /^[a-z_][a-z0-9_]*$/i;
/** SQLite's own names of the internal key of rows, and FTS5's of the rank of a match. */
const OWN_COLUMNS: ReadonlySet<string> = new Set([...KEY_COLUMNS, "rowid", "oid", "_rowid_", "rank"]);

export const textTable = (table: string): string => `${table}_text`;

/** Returns what SQLite could not do, or would do differently than the options say. Names ignore upper and lower case. */
export function sqliteProblems({ tables }: SqliteIndexOptions): readonly SqliteProblem[] {
  const names = Object.keys(tables);
  if (names.length === 0) return [at(["tables"], "there must be a table", "Add a table.")];
  // FTS5 makes further tables, such as orders_text_data.
  const ofTexts = names
    .filter((name) => (tables[name]?.text ?? []).length > 0)
    .map((name) => `${textTable(name.toLowerCase())}_`);
  const isReserved = (lower: string): boolean =>
    /^(?:cairn|sqlite)_/.test(lower) || ofTexts.some((begin) => `${lower}_`.startsWith(begin));
  return Object.entries(tables).flatMap(([name, table]) =>
    [...nameProblem([], name, names, isReserved), ...columnProblems(table)].map(({ path, ...rest }) => ({
      path: ["tables", name, ...path],
      ...rest,
    })),
  );
}

function nameProblem(
  path: SqliteProblem["path"],
  name: string,
  names: readonly string[],
  isReserved: (lower: string) => boolean,
): readonly SqliteProblem[] {
  const lower = name.toLowerCase();
  if (!IDENTIFIER.test(name)) {
    const rule = "a name consists of letters, digits and underscores, and does not begin with a digit";
    return [at(path, rule)];
  }
  if (isReserved(lower)) return [at(path, `the name ${lower} is reserved`)];
  const isThere = names.some((other) => other !== name && other.toLowerCase() === lower);
  return isThere ? [at(path, "another one has the same name")] : [];
}

function columnProblems({ columns, indexes = [], text = [] }: SqliteTable): readonly SqliteProblem[] {
  const names = Object.keys(columns);
  const lists = indexes.map((listed, n) => ({
    path: ["indexes", n],
    listed,
    known: [...KEY_COLUMNS, ...names],
    least: 1,
  }));
  return [
    ...names.flatMap((name) =>
      nameProblem(["columns", name], name, names, (lower) => OWN_COLUMNS.has(lower)),
    ),
    ...Object.entries(columns)
      .filter(([, members]) => members.split(".").includes(""))
      .map(([name, members]) => {
        const hint = "Write member.member, or $ for the whole document.";
        return at(["columns", name], `the path ${members} contains an empty name`, hint);
      }),
    ...[...lists, { path: ["text"], listed: text, known: names, least: 0 }].flatMap(
      ({ path, listed, known, least }) => [
        ...listed.flatMap((name, n) =>
          known.includes(name) ? [] : [unknownColumn([...path, n], name, known)],
        ),
        ...(new Set(listed).size < listed.length
          ? [at(path, "a column is listed twice", "Remove one of the two.")]
          : []),
        ...(listed.length < least
          ? [at(path, "an index has at least one column", "Remove the empty list.")]
          : []),
      ],
    ),
  ];
}

function at(path: SqliteProblem["path"], problem: string, hint = "Choose another name."): SqliteProblem {
  return { path, problem, hint };
}

function unknownColumn(path: SqliteProblem["path"], name: string, known: readonly string[]): SqliteProblem {
  const near = nearestName(name, known);
  const hint = near === undefined ? `Add ${name} to the columns of the table.` : didYouMean(near);
  return at(path, `there is no column ${name}`, hint);
}
