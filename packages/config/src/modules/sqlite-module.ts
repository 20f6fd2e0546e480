import { CairnError, isCairnError } from "@cairn/kv";
import {
  SQLITE_INDEX_MODULE,
  type SqliteIndexOptions,
  sqliteDriverProblem,
  sqliteProblems,
} from "@cairn/engine";
import { mapByName, mapOf } from "../types/map-type.ts";
import { required, withDefault } from "../types/parameter.ts";
import type { Inconsistency } from "../types/read-parameters.ts";
import type { ValueType } from "../types/reading.ts";
import { bucketName, listOf, text } from "../types/value-types.ts";
import { indexParameters } from "./common-parameters.ts";
import { defineModule } from "./module-descriptor.ts";
import { moduleUrl } from "./user-module.ts";

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const IDENTIFIERS = "a name of letters, digits and underscores, 63 at most, that does not begin with a digit";

/** In EDN, columns are defined by keywords, so keywords name them, too. */
const columnName: ValueType<string> = {
  ...text(),
  read: (value) => (value.node.type === "keyword" ? value.node.text : text().read(value)),
};

const tableParameters = {
  bucket: required(bucketName(), "The bucket. The table has a row for each of its documents."),
  columns: withDefault(
    mapByName(IDENTIFIER, IDENTIFIERS, text, 0),
    [],
    'The fields that become columns, by the names of the columns: `{"total": "total.amount"}`.',
    "none",
  ),
  indexes: withDefault(
    listOf(listOf(columnName)),
    [],
    "The indexes of the table: for each, the list of its columns.",
    "none",
  ),
  text: withDefault(listOf(columnName), [], "The columns in whose text words are found.", "none"),
};

const tablesType = mapByName(IDENTIFIER, IDENTIFIERS, (name) => mapOf(`The table ${name}`, tableParameters));

type Tables = NonNullable<ReturnType<typeof tablesType.read>>;

/** Returns the tables as the module of the engine has them. */
function describedTables(tables: Tables): SqliteIndexOptions["tables"] {
  return Object.fromEntries(
    tables.map(([name, { columns, ...rest }]) => [name, { ...rest, columns: Object.fromEntries(columns) }]),
  );
}

function tablesProblem(tables: Tables): Inconsistency | undefined {
  const [first] = sqliteProblems({ tables: describedTables(tables) });
  if (first === undefined) return undefined;
  const message = `${first.path.join(" > ")}: ${first.problem}.`;
  return { message, hint: first.hint, parameter: "tables" };
}

/** Returns what a thread imports. Throws `CONFIG_INVALID` if there is no such driver. */
function driverUrl(driver: string, folder: string): string {
  if (driver.startsWith("node:")) return driver;
  try {
    const url = moduleUrl(driver, folder);
    if (url !== undefined) return url;
  } catch (error) {
    if (!isCairnError(error, "CONFIG_MODULE")) throw error;
  }
  throw new CairnError(
    "CONFIG_INVALID",
    `The driver ${driver} cannot be resolved.`,
    `Correct the path, or install the package: both are resolved from ${folder}.`,
  );
}

export const sqliteIndex = defineModule({
  id: "cairn.sqlite/->index",
  kind: "index",
  doc: "Tables in SQLite, with the fields of documents as columns.",
  parameters: {
    tables: required(tablesType, "The tables, by name."),
    driver: withDefault(
      text(),
      "node:sqlite",
      "What contains SQLite: a package, or the path of a file. It is resolved like modules of your own.",
    ),
    ...indexParameters,
  },
  check: ({ tables }) => tablesProblem(tables),
  async requires(folder, { driver }, { isForNode }) {
    const problem = sqliteDriverProblem(driverUrl(driver, folder));
    // Commands open no index, and may run on another version of Node than the node itself.
    if (isForNode && problem !== undefined) throw problem;
  },
  create({ tables, driver }, _context, folder) {
    return {
      module: SQLITE_INDEX_MODULE,
      options: { tables: describedTables(tables), driver: driverUrl(driver, folder) },
      buckets: [...new Set(tables.map(([, { bucket }]) => bucket))],
    };
  },
});
