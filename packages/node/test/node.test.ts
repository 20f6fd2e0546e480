import { EventEmitter, once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type CairnNode, type System, openEmbeddedTxLog } from "@cairn/engine";
import { levelProvider } from "@cairn/kv";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

let folder = "";
let nodes: CairnNode[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-node-"));
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
  await rm(folder, { recursive: true, force: true });
});

function system(overrides: Partial<System> = {}): System {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  return { ...quietSystem({ folder, nodeId: "node-1", openTxLog }), ...overrides };
}

async function start(overrides: Partial<System> = {}): Promise<CairnNode> {
  const node = await runNode(system(overrides));
  nodes.push(node);
  return node;
}

async function put(node: CairnNode, key: string, document: number): Promise<number> {
  const { txId } = await node.submit({ ops: [["put", "pods", key, document]] });
  await node.await(txId);
  return txId;
}

const key = (name: string) => ({ bucket: "pods", namespace: "default", name });

describe("a node on the embedded log", () => {
  it("serves submitted documents, even after a restart", async () => {
    const first = await start();
    await first.ready;
    await put(first, "a", 1);
    const txId = await put(first, "a", 2);
    expect(await first.get(key("a"))).toMatchObject({ revision: txId, json: "2" });
    const digest = await first.digest();
    await first.close();
    const second = await start();
    await second.ready;
    expect(await second.digest()).toEqual(digest);
    expect((await second.history(key("a"))).versions.map(({ json }) => json)).toEqual(["2", "1"]);
  });

  it("restores from the checkpoint and replays only the tail if its index was removed", async () => {
    const first = await start();
    await first.ready;
    for (let n = 0; n < 20; n += 1) await put(first, `k${n}`, n);
    const saved = await first.checkpoint().done;
    await put(first, "after", 1);
    const digest = await first.digest();
    await first.close();
    await rm(path.join(folder, "node-1-index", "live"), { recursive: true });
    const second = await start();
    await second.ready;
    expect(await second.digest()).toEqual(digest);
    const { join, checkpoints } = await second.status();
    expect(checkpoints.last).toMatchObject({ name: join.restoredFrom?.name, txId: 21 });
    expect(saved).toMatchObject({ checkpoint: { name: join.restoredFrom?.name } });
    expect(join.replayed).toBe(1);
  });

  it("halts if its log is empty but its index has transactions", async () => {
    const first = await start();
    await first.ready;
    await put(first, "a", 1);
    await first.close();
    await rm(path.join(folder, "node-1-log"), { recursive: true });
    const second = await start();
    await vi.waitFor(() => expect(second.phase).toBe("failed"));
    expect((await second.status()).failure).toMatchObject({ code: "LOG_DIFFERENT" });
    await expect(second.get(key("a"))).rejects.toMatchObject({ code: "NOT_READY" });
    expect(await second.get(key("a"), { stale: true })).toMatchObject({ json: "1" });
    // In another log, transaction 2 would be a different one.
    await expect(second.outcome(2)).rejects.toMatchObject({ code: "NOT_READY" });
    await expect(second.submit({ ops: [["delete", "pods", "a"]] })).rejects.toMatchObject({
      code: "NOT_READY",
    });
  });

  it("moves aside an index that cannot be opened, and rebuilds it", async () => {
    const first = await start();
    await first.ready;
    await put(first, "a", 1);
    const digest = await first.digest();
    await first.close();
    await rm(path.join(folder, "node-1-index", "live", "CURRENT"));
    const second = await start();
    await second.ready;
    expect(await second.digest()).toEqual(digest);
    expect((await second.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
    expect(await readdir(path.join(folder, "node-1-index", "quarantine"))).toHaveLength(1);
  });

  it("refuses an invalid limit instead of returning a result that looks like the last page", async () => {
    const node = await start();
    await node.ready;
    for (const name of ["a", "b", "c"]) await put(node, name, 1);
    for (const limit of [0, -1, 1.5, Number.NaN, Infinity, 1_001]) {
      const refused = { code: "REQUEST_INVALID", message: expect.stringContaining("from 1 to 1000") };
      await expect(node.list({ bucket: "pods", limit })).rejects.toMatchObject(refused);
      await expect(node.history(key("a"), { limit })).rejects.toMatchObject(refused);
      await expect(node.events({ limit })).rejects.toMatchObject(refused);
      await expect(node.evictions({ limit })).rejects.toMatchObject(refused);
    }
    const { documents, cursor } = await node.list({ bucket: "pods", limit: 2 });
    expect([documents.length, cursor === undefined]).toEqual([2, false]);
  });

  it("names the transaction as of which a read of a document is valid as a list does", async () => {
    const node = await start();
    await node.ready;
    for (let n = 0; n < 3; n += 1) await put(node, "a", n);
    const { txTime } = await node.await(3);
    const now = new Date(Date.now() + 60_000).toISOString();
    for (const asOf of [undefined, { txId: 2 }, { time: txTime }, { time: now }, { time: "2020-01-01" }]) {
      const list = await node.list({ bucket: "pods", ...(asOf && { asOf }), stale: true });
      const named: number[] = [];
      const onAsOf = named.push.bind(named);
      await node.get(key("a"), { ...(asOf && { asOf }), stale: true, onAsOf });
      expect(named).toEqual([list.txId]);
    }
  });

  it("never names a newer transaction than that of the history that it read", async () => {
    const node = await start();
    await node.ready;
    await put(node, "a", 0);
    const written = new AbortController();
    const writing = (async () => {
      for (let n = 1; n <= 200; n += 1) await put(node, "a", n);
    })().finally(() => written.abort());
    while (!written.signal.aborted) {
      const named: number[] = [];
      const onAsOf = named.push.bind(named);
      const [newest] = (await node.history(key("a"), { limit: 1, stale: true, onAsOf })).versions;
      expect(named).toHaveLength(1);
      expect(newest?.revision).toBeGreaterThanOrEqual(named[0] ?? Infinity);
    }
    await writing;
  });

  it("lets a program await only the beginning of a checkpoint, even if the checkpoint fails", async () => {
    const unhandled = vi.fn<() => void>();
    process.on("unhandledRejection", unhandled);
    onTestFinished(() => void process.off("unhandledRejection", unhandled));
    const node = await start();
    await node.ready;
    await put(node, "a", 1);
    await writeFile(path.join(folder, "checkpoints"), "a file");
    await node.checkpoint().begun;
    await vi.waitFor(async () => expect((await node.status()).checkpoints.lastFailure).not.toBeNull());
    await setImmediate();
    expect(unhandled).not.toHaveBeenCalled();
  });

  it("reports why it is not ready while it waits for its checkpoint store", async () => {
    await writeFile(path.join(folder, "checkpoints"), "a file");
    const node = await start();
    await vi.waitFor(async () =>
      expect((await node.status()).failure).toMatchObject({ code: "STORE_UNREACHABLE" }),
    );
    expect(node.phase).toBe("restoring");
    await expect(node.get(key("a"))).rejects.toMatchObject({
      code: "NOT_READY",
      message: expect.stringContaining("checkpoint store"),
    });
    await rm(path.join(folder, "checkpoints"));
    await mkdir(path.join(folder, "checkpoints"));
    await node.ready;
    expect((await node.status()).failure).toBeNull();
  });

  it("rebuilds its index after it was deleted at runtime", async () => {
    const node = await start();
    await node.ready;
    await put(node, "a", 1);
    const digest = await node.digest();
    await rm(path.join(folder, "node-1-index", "live"), { recursive: true });
    await vi.waitFor(
      async () => expect((await node.status()).index).toMatchObject({ txId: 2, bytes: 0 }),
      5_000,
    );
    await expect(node.checkpoint().done).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    await vi.waitFor(() => expect(node.phase).toBe("restoring"));
    await vi.waitFor(() => expect(node.phase).toBe("ready"));
    expect(await node.digest()).toEqual(digest);
  });

  it("stays in the phase stopping if it is stopped while joining", async () => {
    const gate = new EventEmitter();
    const node = await start({
      openTxLog: async () => {
        await once(gate, "open");
        return await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
      },
    });
    const closing = node.close();
    gate.emit("open");
    await closing;
    expect(node.phase).toBe("stopping");
    await expect(node.ready).rejects.toMatchObject({ code: "NOT_READY" });
    expect((await node.status()).checkpoints.nextCheckAt).toBeNull();
  });

  it("waits while a command reads its index", async () => {
    const first = await start();
    await first.ready;
    await put(first, "a", 1);
    await first.close();
    const reader = await levelProvider().open(path.join(folder, "node-1-index", "live"));
    const node = await start();
    await vi.waitFor(async () =>
      expect((await node.status()).failure).toMatchObject({ code: "SYSTEM_REFUSED", retries: true }),
    );
    await reader.close();
    await vi.waitFor(() => expect(node.phase).toBe("ready"));
    expect((await node.status()).join.movedAside).toEqual([]);
  });

  it("refuses a db-dir that a running node uses", async () => {
    await (
      await start()
    ).ready;
    await expect(runNode(system())).rejects.toMatchObject({ code: "INDEX_LOCKED" });
  });
});
