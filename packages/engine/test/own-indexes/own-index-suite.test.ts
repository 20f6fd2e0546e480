import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ownIndexSuite } from "../../testing/index.ts";
import { createJsonIndex } from "./json-index.ts";

ownIndexSuite("a file of JSON", createJsonIndex, {
  module: {
    url: new URL("../../dist/test/own-indexes/json-index.js", import.meta.url).href,
    export: "createJsonIndex",
  },
  contents: async (_index, dir) => {
    const { documents } = JSON.parse(await readFile(join(dir, "index.json"), "utf8")) as {
      documents: Readonly<Record<string, readonly [number, string]>>;
    };
    return new Map(Object.entries(documents).map(([key, [, json]]) => [key, JSON.parse(json) as unknown]));
  },
});

ownIndexSuite("a file of JSON that is known by its digest alone", createJsonIndex);
