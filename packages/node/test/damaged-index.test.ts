import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnError, type KvProvider, levelProvider, resolvable } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type CairnNode, openEmbeddedTxLog, type TxLog } from "@cairn/engine";
import { STATE_ROW_KEY } from "@cairn/engine/src/index/rows/row-keys";
import { ROW } from "@cairn/engine/src/index/rows/row-keys";
import { txRowKey } from "@cairn/engine/src/index/rows/row-keys";
import { FaultyTxLog, type TxLogFaults } from "@cairn/engine/testing";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

let folder = "";
let nodes: CairnNode[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-damaged-"));
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
  await rm(folder, { recursive: true, force: true });
});

const openLog = async (): Promise<TxLog> =>
  await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });

async function start(
  kvProvider: KvProvider = levelProvider({ compression: false }),
  openTxLog = openLog,
): Promise<CairnNode> {
  const node = await runNode({ ...quietSystem({ folder, nodeId: "node-1", openTxLog }), kvProvider });
  nodes.push(node);
  return node;
}

const key = (name: string) => ({ bucket: "pods", namespace: "default", name });
const documentOf = (name: string): string => name.padEnd(200, name);

/** Writes a log of a few documents. Its index is in a table, and not only in a write-ahead log. */
async function written(): Promise<string> {
  const node = await start();
  await node.ready;
  const names = Array.from({ length: 50 }, (_, index) => `k${index}`);
  const submitted = names.map((name) => node.submit({ ops: [["put", "pods", name, documentOf(name)]] }));
  const { txId } = (await Promise.all(submitted)).at(-1) ?? { txId: 0 };
  await node.await(txId);
  const { digest } = await node.digest();
  await node.close();
  const again = await start();
  await again.ready;
  await again.close();
  return digest;
}

/** Flips a bit of a document in the index. */
async function damage(): Promise<void> {
  const live = path.join(folder, "node-1-index", "live");
  const name = (await readdir(live)).find((file) => file.endsWith(".ldb")) ?? "";
  const bytes = await readFile(path.join(live, name));
  const at = bytes.indexOf("k7k7");
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  await writeFile(path.join(live, name), bytes);
}

describe("a node whose index is damaged on disk", () => {
  it("rebuilds an index with damaged chains when it starts", async () => {
    const digest = await written();
    const kv = await levelProvider().open(path.join(folder, "node-1-index", "live"));
    await kv.batch([{ type: "del", key: txRowKey(ROW.chainEntries, 1) }]);
    await kv.close();
    const node = await start();
    await node.ready;
    expect((await node.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
    expect((await node.digest()).digest).toBe(digest);
  });

  it("serves nothing from the index once the damage is detected, and rebuilds it from the log", async () => {
    const digest = await written();
    await damage();
    const node = await start();
    await vi.waitFor(async () => {
      // An idle node detects the damage only at a read.
      expect(await node.get(key("k7"))).toMatchObject({ json: JSON.stringify(documentOf("k7")) });
    });
    expect(await node.digest()).toMatchObject({ digest });
    expect((await node.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
  });

  it("refuses a read that waited for memory if the new index lacks what it must include", async () => {
    await written();
    const faults: TxLogFaults[] = [];
    const node = await start(undefined, async () => {
      const log = new FaultyTxLog(await openLog());
      faults.push(log.faults);
      return log;
    });
    await node.ready;
    const { txId: minTx } = await node.buckets();
    const memory = resolvable();
    const asked = vi.fn<() => Promise<void>>(() => memory.promise);
    const waiting = node.list({ bucket: "pods", stale: true, minTx, admit: asked });
    await vi.waitFor(() => expect(asked).toHaveBeenCalled());
    for (const one of faults) one.stalled = true;
    await damage();
    await expect(node.get(key("k7"))).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await vi.waitFor(async () => expect((await node.buckets({ stale: true })).txId).toBeLessThan(minTx));
    memory.resolve();
    await expect(waiting).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("does not save the index as a checkpoint", async () => {
    const digest = await written();
    const node = await start();
    await node.ready;
    await damage();
    await expect(node.checkpoint().done).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await vi.waitFor(async () => expect(await node.digest()).toMatchObject({ digest }));
    expect(await node.checkpoints()).toEqual([]);
  });
});

describe("a checkpoint whose index proves damaged each time it is restored", () => {
  it("is eventually skipped instead of being restored again and again", { tags: "rest/slow" }, async () => {
    const first = await start();
    await first.ready;
    for (const name of ["a", "b"]) {
      const { txId } = await first.submit({ ops: [["put", "pods", name, 1]] });
      await first.await(txId);
    }
    const saved = await first.checkpoint().done;
    const { txId } = await first.submit({ ops: [["put", "pods", "c", 1]] });
    await first.await(txId);
    const digest = await first.digest();
    await first.close();
    await rm(path.join(folder, "node-1-index", "live"), { recursive: true });

    const second = await start(refusesRestored());
    await vi.waitFor(() => expect(second.phase).toBe("ready"), 30_000);
    expect(await second.digest()).toEqual(digest);
    const { join } = await second.status();
    expect(join.restoredFrom).toBeNull();
    expect(saved).toMatchObject({ checkpoint: { name: join.skipped[0]?.name } });
    expect(join.skipped).toMatchObject([{ code: "CHECKPOINT_CORRUPT" }]);
  });
});

/** Returns a LevelDB provider in which every index that was not begun here proves damaged at the first batch. */
function refusesRestored(): KvProvider {
  const level = levelProvider();
  return {
    ...level,
    open: async (dir) => {
      const store = await level.open(dir);
      if ((await store.get(STATE_ROW_KEY)) === undefined) return store;
      return Object.assign(store, { batch: refuse });
    },
  };
}

function refuse(): Promise<never> {
  return Promise.reject(new CairnError("INDEX_CORRUPT", "A block has changed."));
}
