import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient } from "@cairn/client";
import { type CairnNode, startNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Flag, Flags } from "../src/flags.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-flags-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function start(port = 0): Promise<CairnNode> {
  const node = await startNode({
    "cairn/node": { id: "a", dir: path.join(folder, "a") },
    "cairn/tx-log": { path: path.join(folder, "log") },
    "cairn/http-server": { port },
  });
  await node.ready;
  return node;
}

describe("feature flags", () => {
  it("are current on every instance, also on one that was without its node for a while", async () => {
    let node = await start();
    const client = new CairnClient({ urls: node.url ?? "" });
    await using local = await new Flags(node.client().bucket<Flag>("flags")).start();
    await using remote = await new Flags(client.bucket<Flag>("flags")).start();
    await Promise.all([
      local.set("dark", (old) => ({ ...old, enabled: true })),
      remote.set("dark", (old) => ({ enabled: false, ...old, tenants: ["acme"] })),
    ]);
    await vi.waitFor(() => {
      for (const flags of [local, remote])
        expect([flags.isOn("dark", "acme"), flags.isOn("dark", "b")]).toEqual([true, false]);
    });
    const port = Number(new URL(node.url ?? "").port);
    await local[Symbol.asyncDispose]();
    await node.close();
    node = await start(port);
    await node.client().delete("flags", "dark");
    await vi.waitFor(() => expect(remote.isOn("dark", "acme")).toBe(false), { timeout: 20_000 });
    await remote[Symbol.asyncDispose]();
    await node.close();
  });
});
