import { describe, expect, it } from "vitest";
import { sqliteDriverProblem, loadSqliteDriver } from "../../../src/own-indexes/sqlite/sqlite-driver.ts";
import { sqliteProblems, type SqliteTables } from "../../../src/own-indexes/sqlite/sqlite-options.ts";
import { ORDERS } from "./sqlite-scene.ts";

const table = { bucket: "orders", columns: { title: "title" } };

describe("the options of an index in SQLite", () => {
  it("have no problems if SQLite can do what they say", () => {
    expect(sqliteProblems({ tables: { ...ORDERS, order: table, orders_texts: table } })).toEqual([]);
  });

  it.each<[string, SqliteTables, string]>([
    ["no table", {}, "tables: there must be a table"],
    ["a reserved name", { Cairn_x: table }, "tables.Cairn_x: the name cairn_x is reserved"],
    ["a name that needs quotes", { "a-b": table }, "tables.a-b: a name consists of letters"],
    ["names that differ in case", { a: table, A: table }, "tables.a: another one has the same name"],
    [
      "the name of a full text index",
      { a: { ...table, text: ["title"] }, A_text_data: table },
      "tables.A_text_data: the name a_text_data is reserved",
    ],
    [
      "a column of the key",
      { a: { ...table, columns: { Name: "x" } } },
      "tables.a.columns.Name: the name name is reserved",
    ],
    [
      "columns that differ in case",
      { a: { ...table, columns: { b: "b", B: "b" } } },
      "tables.a.columns.b: another",
    ],
    [
      "an empty member",
      { a: { ...table, columns: { b: "b..c" } } },
      "tables.a.columns.b: the path b..c contains",
    ],
    [
      "an index of no column",
      { a: { ...table, indexes: [[]] } },
      "tables.a.indexes.0: an index has at least",
    ],
    [
      "an index of unknown columns",
      { a: { ...table, indexes: [["name", "b"]] } },
      "tables.a.indexes.0.1: there is no",
    ],
    [
      "text of a path",
      { a: { ...table, text: ["lines.title"] } },
      "tables.a.text.0: there is no column lines.title",
    ],
    [
      "text of a column twice",
      { a: { ...table, text: ["title", "title"] } },
      "tables.a.text: a column is listed twice",
    ],
  ])("are refused with %s", (_, tables, expected) => {
    const [first] = sqliteProblems({ tables });
    expect(`${first?.path.join(".")}: ${first?.problem}`).toContain(expected);
  });
});

describe("the driver of an index in SQLite", () => {
  it.each([
    ["20.20.2", undefined, "CONFIG_INVALID"],
    ["22.15.1", "node:sqlite", "CONFIG_INVALID"],
    ["22.16.0", undefined, undefined],
    ["24.0.0", undefined, undefined],
    ["20.20.2", "file:///a.js", undefined],
  ])("on Node %s, if it is %s, has the problem %s", (version, driver, code) => {
    expect(sqliteDriverProblem(driver, version)?.code).toBe(code);
  });

  it.each(["node:path", "file:///nowhere/driver.js"])("cannot be %s", async (driver) => {
    await expect(loadSqliteDriver(driver)).rejects.toMatchObject({
      code: "CONFIG_MODULE",
      hint: /Node 22\.16 or later.*@photostructure\/sqlite@1\.2/,
    });
  });
});
