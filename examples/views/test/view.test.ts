import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore, startNode, type CairnNode, type CheckpointStore } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDatabase } from "../src/sqlite.ts";
import { View } from "../src/view.ts";
import { restoreView, saveView } from "../src/view-in-store.ts";

let folder = "";
let store: CheckpointStore;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-views-"));
  store = filesystemStore({ path: path.join(folder, "store"), shared: true });
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function start(id: string): Promise<CairnNode> {
  const node = await startNode({
    "cairn/node": { id, dir: path.join(folder, id) },
    "cairn/tx-log": { path: path.join(folder, "log") },
    "cairn/http-server": null,
    "cairn/index-store": { "kv-store": { checkpointer: { store, "approx-frequency": "PT6H" } } },
  });
  await node.ready;
  return node;
}

async function view(node: CairnNode): Promise<View> {
  const db = await openDatabase(path.join(folder, `${node.id}.sqlite`));
  return await new View(db).start(node.client(), "notes");
}

describe("a view in SQLite", () => {
  it("follows the notes, and continues after a restart, whatever history is kept", async () => {
    await using node = await start("a");
    const client = node.client();
    await client.setPolicies({ history: { "*": { keep: 0 } } });
    const notes = client.bucket<{ text: string }>("notes");
    await notes.load(
      Array.from({ length: 500 }, (_, n) => ({ key: `n${n}`, document: { text: `cairn ${n}` } })),
    );
    {
      await using first = await view(node);
      await first.reached(client.lastTx);
      expect(first.search("cairn")).toBe(500);
    }
    await notes.put("n1", { text: "stones" });
    await notes.delete("n2");
    await notes.put("n3", { text: "cairn again" });
    await using second = await view(node);
    await second.reached(client.lastTx);
    expect([second.search("cairn"), second.search("stones"), second.search("again")]).toEqual([498, 1, 1]);
    expect(second.perDay()).toEqual([{ day: new Date().toISOString().slice(0, 10), notes: 499 }]);
  });

  it("travels in the checkpoint store, so that a new node continues it", async () => {
    const saved = path.join(folder, "a.sqlite");
    {
      await using node = await start("a");
      const notes = node.client().bucket<{ text: string }>("notes");
      await notes.put("kept", { text: "cairn" });
      const { txId } = await notes.put("removed", { text: "cairn" });
      const first = await view(node);
      await first.reached(txId);
      await first[Symbol.asyncDispose]();
      await saveView(store, saved);
      await notes.delete("removed");
      await node.checkpoint().done;
    }
    await using node = await start("b");
    expect(await restoreView(store, path.join(folder, "b.sqlite"))).toMatch(/^notes-view\/\d+\.sqlite$/);
    expect(await restoreView(store, path.join(folder, "b.sqlite"))).toBeUndefined();
    await using second = await view(node);
    await second.reached((await node.status()).index.txId ?? 0);
    expect(second.search("cairn")).toBe(1);
  });
});
