import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointStoreSuite } from "@cairn/checkpoint/testing";
import { kvStoreSuite } from "@cairn/kv/testing";
import { describeTxLog, ownIndexSuite } from "@cairn/engine/testing";
import { onTestFinished } from "vitest";
import { createHttpStore } from "../src/http-store.ts";
import { createKv, createStore, createVectors, openLog } from "../src/index.ts";
import { startObjectServer } from "./object-server.ts";

async function newFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "cairn-own-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

kvStoreSuite("the sorted array", { provider: createKv() });

checkpointStoreSuite("the folder of lives", {
  open: async () => {
    const { path, remove } = await newFolder();
    onTestFinished(remove);
    return createStore({ path });
  },
  reopen: async ({ location }) => createStore({ path: new URL(location).pathname }),
  away: async ({ location }) => {
    const { pathname } = new URL(location);
    onTestFinished(() => rm(`${pathname}-away`, { recursive: true }));
    await rename(pathname, `${pathname}-away`);
  },
});

checkpointStoreSuite("the store behind an HTTP server", {
  open: async () => {
    const { url, close } = await startObjectServer();
    onTestFinished(close);
    return createHttpStore({ url });
  },
  reopen: ({ location }) => Promise.resolve(createHttpStore({ url: location })),
});

ownIndexSuite("the file of vectors", createVectors, {
  options: { field: "vector", dimensions: 3 },
  module: { url: new URL("../dist/src/vectors.js", import.meta.url).href, export: "createVectors" },
  document: (n, word) => ({ vector: [n, 0, 0], word }),
  kept: (document) => (document as { vector: number[] }).vector[0],
  contents: async (index) => {
    const { rows = [] } = (await index.query?.({ text: "nearest", args: [[0, 0, 0], 1_000] })) ?? {};
    const found = [...(rows as Iterable<readonly [key: string, distance: number]>)];
    return new Map(found.map(([key, distance]) => [key.replace("items/", ""), distance]));
  },
});

describeTxLog("the log in one file", async () => {
  const { path, remove } = await newFolder();
  return { open: () => openLog({ path: join(path, "log") }), close: remove };
});
