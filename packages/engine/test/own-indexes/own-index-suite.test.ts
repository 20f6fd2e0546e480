import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ownIndexSuite } from "../../testing/index.ts";
import type { OwnIndexModule } from "../../src/own-indexes/own-index.ts";

const url = new URL("json-index.mjs", import.meta.url).href;
const { create } = (await import(url)) as { create: OwnIndexModule };

ownIndexSuite("a file of JSON", create, {
  module: { url, export: "create" },
  contents: async (_index, dir) => {
    const { documents } = JSON.parse(await readFile(join(dir, "index.json"), "utf8")) as {
      documents: Readonly<Record<string, string>>;
    };
    // Each is `bucket namespace/name`, with `revision document`.
    return new Map(
      Object.entries(documents).map(([key, value]) => [after(key), JSON.parse(after(value)) as unknown]),
    );
  },
});

ownIndexSuite("a file of JSON that is known by its digest alone", create);

function after(text: string): string {
  return text.slice(text.indexOf(" ") + 1);
}
