// @module-tag rest/slow
import { ownIndexSuite } from "../../../testing/index.ts";
import { createSqliteIndex } from "../../../src/own-indexes/sqlite/sqlite-index-worker.ts";
import { SQLITE_INDEX_MODULE } from "../../../src/own-indexes/sqlite/sqlite-options.ts";
import { ask, SQLITE_DRIVER } from "./sqlite-scene.ts";

const tables = {
  items: {
    bucket: "items",
    columns: { word: "word", n: "n", document: "$" },
    indexes: [["n"]],
    text: ["word"],
  },
};

ownIndexSuite("SQLite", createSqliteIndex, {
  options: { tables, ...SQLITE_DRIVER },
  module: SQLITE_INDEX_MODULE,
  contents: async (index) => {
    const { rows } = await ask(index, "select namespace || '/' || name, word, document from items");
    const documents = [...rows];
    const found: string[] = [];
    for (const word of new Set(documents.map(([, one]) => String(one)))) {
      const text = "select namespace || '/' || name from items_text where items_text match ?";
      found.push(...[...(await ask(index, text, [`"${word}"`])).rows].map(([key]) => String(key)));
    }
    const keys = documents.map(([key]) => String(key)).toSorted();
    if (found.toSorted().join() !== keys.join()) throw new Error("The full text index has other rows.");
    return new Map(documents.map(([key, , json]) => [String(key), JSON.parse(String(json)) as unknown]));
  },
});
