import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNode } from "@cairn/node";
import { expect, it, onTestFinished } from "vitest";

it(
  "a node finds the documents with the nearest vectors, as of what was written",
  { tags: "rest/slow" },
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "cairn-vectors-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const near = { "cairn/module": "./dist/src/vectors.js#createVectors", field: "vector", dimensions: 2 };
    const parts = { "cairn/node": { id: "a", dir }, "cairn/http-server": null, "cairn/indexes": { near } };
    await using node = await startNode(parts, { cwd: join(import.meta.dirname, "..") });
    const client = node.client();
    const items = client.bucket<object>("items");
    for (let n = 0; n < 9; n += 1) await items.put(String(n), { vector: [n, -n] });
    await items.put("none", { vector: "none" });
    await items.delete("4");
    const { columns, rows } = await client.sql("near", "nearest", [[4, -4], 2]);
    expect(columns).toEqual(["key", "distance"]);
    const found = rows.map(([key]) => key).toSorted();
    expect(found).toEqual(["items/default/3", "items/default/5"]);
    await expect(client.sql("near", "nearest", [[4]])).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  },
);
