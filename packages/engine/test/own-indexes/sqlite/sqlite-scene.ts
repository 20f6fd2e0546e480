import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Json } from "@cairn/client";
import type { IndexQuery, OwnIndex, QueryAnswer } from "../../../src/own-indexes/own-index.ts";
import { sqliteDriverProblem } from "../../../src/own-indexes/sqlite/sqlite-driver.ts";
import { createSqliteIndex } from "../../../src/own-indexes/sqlite/sqlite-index-worker.ts";
import type { SqliteIndexOptions } from "../../../src/own-indexes/sqlite/sqlite-options.ts";
import { afterEach, beforeEach } from "vitest";

/** Node's own SQLite, where there is one. */
export const SQLITE_DRIVER: { readonly driver?: string } =
  sqliteDriverProblem(undefined) === undefined
    ? {}
    : { driver: pathToFileURL(createRequire(import.meta.url).resolve("@photostructure/sqlite")).href };

export const ORDERS: SqliteIndexOptions["tables"] = {
  orders: {
    bucket: "orders",
    columns: { owner: "owner", total: "total.amount", title: "title", document: "$" },
    indexes: [["owner", "total"]],
    text: ["title", "owner"],
  },
};

export interface SqliteScene {
  readonly dir: string;
  readonly notices: string[];
  /** Opens the index, and closes it after the test. */
  open(options?: { tables?: SqliteIndexOptions["tables"]; dir?: string }): Promise<OwnIndex>;
  query(text: string, args?: IndexQuery["args"]): Promise<readonly (readonly Json[])[]>;
  reader(dir?: string): Promise<OwnIndex>;
}

export function sqliteScene(): SqliteScene {
  let folder = "";
  let opened: OwnIndex[] = [];
  const notices: string[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-sqlite-"));
    notices.length = 0;
  });

  afterEach(async () => {
    for (const index of opened) await index.close();
    opened = [];
    await rm(folder, { recursive: true });
  });

  const create = async (readOnly: boolean, dir = folder, tables = ORDERS): Promise<OwnIndex> => {
    const context = {
      name: "views",
      version: 1,
      dir,
      readOnly,
      onNotice: (sentence: string) => void notices.push(sentence),
    };
    const index = await createSqliteIndex({ tables, ...SQLITE_DRIVER }, context);
    opened.push(index);
    return index;
  };

  return {
    get dir() {
      return folder;
    },
    notices,
    open: ({ tables, dir } = {}) => create(false, dir, tables),
    reader: (dir) => create(true, dir),
    query: async (text, args) => [...(await ask(await create(true), text, args)).rows],
  };
}

export async function ask(
  index: OwnIndex,
  text: string,
  args: IndexQuery["args"] = [],
): Promise<SqliteAnswer> {
  if (index.query === undefined) throw new Error("This index answers no queries.");
  const answer = await index.query({ text, args });
  if (!(Symbol.iterator in answer.rows)) throw new Error("The rows are not read at once.");
  return { ...answer, rows: answer.rows };
}

interface SqliteAnswer extends QueryAnswer {
  readonly rows: Iterable<readonly Json[]>;
}
