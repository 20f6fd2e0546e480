import { isBuiltin } from "node:module";
import { CairnError, isCairnError } from "@cairn/kv";
import { SQLITE_INDEX_MODULE } from "@cairn/engine";
import { didYouMean, nearestName } from "@cairn/text";
import { mapByName, mapOf } from "../types/map-type.ts";
import { required, withDefault } from "../types/parameter.ts";
import type { Inconsistency } from "../types/read-parameters.ts";
import type { ValueType } from "../types/reading.ts";
import { bucketName, listOf, text, textLike } from "../types/value-types.ts";
import { indexParameters } from "./common-parameters.ts";
import { defineModule } from "./module-descriptor.ts";
import { moduleUrl } from "./user-module.ts";

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const IDENTIFIERS = "a name of letters, digits and underscores, 63 at most, that does not begin with a digit";
/** The columns that every table has. */
const OWN_COLUMNS = new Set(["namespace", "name", "revision", "tx_time"]);

/** SQLite does not distinguish upper and lower case. */
function namesProblem(names: readonly string[], parameter: string): Inconsistency | undefined {
  const seen = new Map<string, string>();
  for (const name of names) {
    const folded = name.toLowerCase();
    const before = seen.get(folded);
    if (before !== undefined) {
      const message = `In SQLite, ${before} and ${name} are the same name.`;
      return { message, hint: "Rename one of the two.", parameter };
    }
    if (/^(?:sqlite|cairn)_/.test(folded)) {
      const message = `The name ${name} is reserved.`;
      return { message, hint: "Choose one that does not begin with sqlite_ or cairn_.", parameter };
    }
    seen.set(folded, name);
  }
  return undefined;
}

function columnType(name: string): ValueType<readonly [name: string, path: string]> {
  const path = textLike(/^[^.]+(?:\.[^.]+)*$/, 'a field, or fields with "." between them');
  return {
    name: path.name,
    jsonSchema: path.jsonSchema,
    read(value) {
      const found = path.read(value);
      if (found === undefined) return undefined;
      value.record(found);
      return [name, found];
    },
  };
}

/** In EDN, columns are defined by keywords, so keywords name them, too. */
const columnName: ValueType<string> = {
  ...text(),
  read: (value) => (value.node.type === "keyword" ? value.node.text : text().read(value)),
};

const tableParameters = {
  bucket: required(bucketName(), "The bucket. The table has a row for each of its documents."),
  columns: withDefault(
    mapByName(IDENTIFIER, IDENTIFIERS, columnType, 0),
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

interface Table {
  readonly name: string;
  readonly bucket: string;
  readonly columns: readonly (readonly [name: string, path: string])[];
  readonly indexes: readonly (readonly string[])[];
  readonly text: readonly string[];
}

function tableType(name: string): ValueType<Table> {
  const plain = mapOf(`The table ${name}`, tableParameters, (values) => {
    const names = values.columns.map(([column]) => column);
    const taken = names.find((column) => OWN_COLUMNS.has(column.toLowerCase()));
    if (taken !== undefined) {
      const message = `Every table has the column ${taken} already.`;
      return { message, hint: "Give the column another name.", parameter: "columns" };
    }
    return (
      namesProblem(names, "columns") ??
      values.indexes.map((index) => referenceProblem(name, index, names, "indexes")).find(Boolean) ??
      referenceProblem(name, values.text, names, "text")
    );
  });
  return {
    ...plain,
    read(value) {
      const values = plain.read(value);
      return values && { name, ...values };
    },
  };
}

function referenceProblem(
  table: string,
  used: readonly string[],
  names: readonly string[],
  parameter: "indexes" | "text",
): Inconsistency | undefined {
  const unknown = used.find((column) => !names.includes(column));
  if (unknown !== undefined) {
    const near = nearestName(unknown, names);
    const hint = near === undefined ? `Add ${unknown} to the columns of the table.` : didYouMean(near);
    return { message: `The table ${table} has no column ${unknown}.`, hint, parameter };
  }
  const twice = used.find((column, at) => used.indexOf(column) < at);
  if (twice === undefined) return undefined;
  return { message: `${twice} is listed twice.`, hint: "Keep one of the two.", parameter };
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

function requireBuiltin(driver: string): void {
  if (!driver.startsWith("node:") || isBuiltin(driver)) return;
  throw new CairnError(
    "CONFIG_INVALID",
    `Node ${process.versions.node} has no ${driver}.`,
    'Use Node 22 or later, or run npm install @photostructure/sqlite@1.2 and set "driver": "@photostructure/sqlite".',
  );
}

export const sqliteIndex = defineModule({
  id: "cairn.sqlite/->index",
  kind: "index",
  doc: "Tables in SQLite, with the fields of documents as columns.",
  parameters: {
    tables: required(mapByName(IDENTIFIER, IDENTIFIERS, tableType), "The tables, by name."),
    driver: withDefault(
      text(),
      "node:sqlite",
      "What contains SQLite: a package, or the path of a file. It is resolved like modules of your own.",
    ),
    ...indexParameters,
  },
  check: ({ tables }) =>
    namesProblem(
      tables.map(({ name }) => name),
      "tables",
    ),
  requires: {
    // Commands open no index, and may run on another version of Node than the node itself.
    async from(folder, { driver }, { isForNode }) {
      driverUrl(driver, folder);
      if (isForNode) requireBuiltin(driver);
    },
  },
  create({ tables, driver }, _context, folder) {
    const described = tables.map(({ name, columns, ...rest }) => [
      name,
      { ...rest, columns: Object.fromEntries(columns) },
    ]);
    return {
      module: SQLITE_INDEX_MODULE,
      options: { tables: Object.fromEntries(described), driver: driverUrl(driver, folder) },
      buckets: [...new Set(tables.map(({ bucket }) => bucket))],
    };
  },
});
