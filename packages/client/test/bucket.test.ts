import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CairnClient, Schema } from "@cairn/client";
import type { CairnNode } from "@cairn/engine";
import { startNode } from "@cairn/node";

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-bucket-"));
  node = await startNode({ "cairn/node": { id: "n", dir: folder }, "cairn/http-server": null });
  await node.ready;
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

function client(): CairnClient {
  if (node === undefined) throw new Error("the node has not started");
  return node.client();
}

/** Accepts numbers of at least 1. */
const positive: Schema<number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "number" && value >= 1
        ? { value }
        : { issues: [{ message: "must be at least 1", path: ["counts", 0, { key: "count" }] }] },
  },
};

const invalid = {
  code: "DOCUMENT_INVALID",
  message: expect.stringContaining("counts[0].count: must be at least 1"),
  details: { key: "a", issues: [{ path: "counts[0].count", message: "must be at least 1" }] },
};

describe("a bucket with a schema", () => {
  it("refuses to write a document that does not match it", async () => {
    const counts = client().bucket("writes", positive);
    await expect(counts.put("a", 0)).rejects.toMatchObject(invalid);
    await expect(counts.load([{ key: "a", document: 0 }])).rejects.toMatchObject(invalid);
    await expect(counts.update("a", () => 0)).rejects.toMatchObject(invalid);
    expect(await counts.get("a")).toBeUndefined();
    await counts.put("a", 1);
    expect(await counts.update("a", (count = 0) => count + 1)).toMatchObject({ document: 2 });
  });

  it("stores and returns documents as they are, whatever the schema makes of them", async () => {
    const cents: Schema<{ readonly price: number }> = {
      "~standard": {
        version: 1,
        vendor: "test",
        // Like a schema that converts a member, and omits those that it does not know.
        validate: (value) => ({ value: { price: (value as { readonly price: number }).price * 100 } }),
      },
    };
    const prices = client().bucket("prices", cents);
    const newer = { price: 5, currency: "EUR" };
    await prices.put("a", newer);
    expect(await prices.get("a")).toMatchObject({ document: newer });
    await prices.update("a", (price) => price && { ...price, price: 6 });
    expect(await client().get("prices", "a")).toMatchObject({ document: { price: 6, currency: "EUR" } });
  });

  it("reads no document that does not match it until the document is corrected", async () => {
    const counts = client().bucket("reads", positive);
    await client().put("reads", "a", 0);
    await expect(counts.get("a")).rejects.toMatchObject(invalid);
    await expect(counts.page()).rejects.toMatchObject(invalid);
    await expect(counts.list().next()).rejects.toMatchObject(invalid);
    await expect(counts.history("a").next()).rejects.toMatchObject(invalid);
    await expect(counts.follow().next()).rejects.toMatchObject(invalid);
    // What the hint asks for.
    await counts.put("a", 1);
    expect(await counts.get("a")).toMatchObject({ document: 1 });
  });
});
