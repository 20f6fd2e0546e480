import { mkdtemp, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { AnyOperation } from "@cairn/client";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import type { CairnNode } from "../../../src/node/node.ts";
import type { OwnIndexOptions } from "../../../src/own-indexes/own-index.ts";
import { parseRows } from "../../../src/own-indexes/queries/index-queries.ts";
import { SQLITE_INDEX_MODULE } from "../../../src/own-indexes/sqlite/sqlite-options.ts";
import { ORDERS, SQLITE_DRIVER } from "./sqlite-scene.ts";

let folder = "";
let node: CairnNode;
const opened: CairnNode[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-kept-in-sqlite-"));
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(given: Partial<OwnIndexOptions> = {}): Promise<void> {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  const shop: OwnIndexOptions = {
    name: "shop",
    version: 1,
    module: SQLITE_INDEX_MODULE,
    options: { tables: ORDERS, ...SQLITE_DRIVER },
    buckets: ["orders"],
    ready: "waits",
    checkpoint: true,
    ...given,
  };
  node = await runNode({ ...quietSystem({ folder, nodeId: "node-1", openTxLog }), ownIndexes: [shop] });
  opened.push(node);
  await node.ready;
}

async function putOrders(count: number): Promise<number> {
  const ops = Array.from({ length: count }, (_, n): AnyOperation => [
    "put",
    "orders",
    `o${n}`,
    { owner: `u${n % 10}`, total: { amount: n }, title: `green tea ${"leaves ".repeat(20)}${n}` },
  ]);
  const { txId } = await node.submit({ ops });
  await node.await(txId);
  return txId;
}

async function ask(sql: string, minTx?: number): Promise<unknown> {
  const options = minTx === undefined ? {} : { minTx };
  return (await parseRows(await node.queryIndex("shop", { text: sql, args: [] }, options))).rows;
}

async function sqliteFile(): Promise<string> {
  const own = path.join(folder, "node-1-index", "own", "shop");
  const build = (await readdir(own)).find((name) => name !== "served.json") ?? "";
  const file = (await readdir(path.join(own, build))).find((name) => name.endsWith(".sqlite")) ?? "";
  return path.join(own, build, file);
}

/** Returns how many locks of this process a database and its index of the log have. */
async function locksOn(database: string): Promise<number[]> {
  const held = await readFile("/proc/locks", "utf8");
  const counts: number[] = [];
  for (const file of [database, `${database}-shm`]) {
    const { ino } = await stat(file);
    counts.push(
      held.split("\n").filter((line) => new RegExp(` ${process.pid} \\S+:${ino} `).test(line)).length,
    );
  }
  return counts;
}

/** Overwrites a quarter of a file in its middle. */
async function damage(file: string): Promise<void> {
  const handle = await open(file, "r+");
  try {
    const { size } = await handle.stat();
    await handle.write(Buffer.alloc(Math.floor(size / 4), 0x5a), 0, undefined, Math.floor(size / 2));
  } finally {
    await handle.close();
  }
}

const COUNT = "select count(*), sum(total) from orders";
const WORDS = "select count(*) from orders_text where orders_text match 'tea'";

describe("an index in SQLite that a node keeps", () => {
  it("answers queries, also of what was written just before", { tags: "rest/slow" }, async () => {
    await start();
    const txId = await putOrders(300);
    expect(await ask(COUNT, txId)).toEqual([[300, 44_850]]);
    expect(await ask(WORDS)).toEqual([[300]]);
    const deleted = await node.submit({ ops: [["delete", "orders", "o299"]] });
    expect(await ask(COUNT, deleted.txId)).toEqual([[299, 44_551]]);
  });

  it("is restored with a checkpoint", { tags: "rest/slow" }, async () => {
    await start();
    const txId = await putOrders(300);
    await ask(COUNT, txId);
    await saveCheckpoint(node);
    await node.close();
    await rm(path.join(folder, "node-1-index"), { recursive: true });
    await start({ ready: "later" });
    expect((await node.status()).ownIndexes).toMatchObject([{ built: 0 }]);
    await expect.poll(async () => await ask(COUNT, txId).catch(() => undefined)).toEqual([[300, 44_850]]);
    expect(await ask(WORDS)).toEqual([[300]]);
    expect(await sqliteFile()).toContain("index-1.sqlite");
  });

  // A process that closes a file loses all its locks on it, and with them SQLite's. Another process that opens the file
  // then truncates what this one has mapped, which ends it.
  it.runIf(process.platform === "linux")(
    "keeps its locks while it is built, captured and purged",
    async () => {
      await start();
      const txId = await putOrders(300);
      await ask(COUNT, txId);
      const { txId: evicted } = await node.submit({ ops: [["evict", "orders", "o1"]] });
      // While the index applies it, it has more locks.
      await ask(COUNT, evicted);
      const files = await sqliteFile();
      const before = await locksOn(files);
      expect(before.every((count) => count > 0)).toBe(true);
      await saveCheckpoint(node);
      expect(await locksOn(files)).toEqual(before);
    },
  );

  it("goes on when the document whose key it cannot hold is deleted", { tags: "rest/slow" }, async () => {
    await start();
    await node.submit({ ops: [["put", "orders", "a\0b", { owner: "ann" }]] });
    const own = async () => (await node.status()).ownIndexes;
    await expect
      .poll(own)
      .toMatchObject([{ failure: { message: expect.stringContaining("NUL") as string } }]);
    const { txId } = await node.submit({ ops: [["delete", "orders", "a\0b"]] });
    await expect.poll(own, { timeout: 30_000 }).toMatchObject([{ state: "live", txId }]);
    expect(await ask(COUNT, txId)).toEqual([[0, null]]);
  });

  it("is built again if a query finds that its file is damaged", { tags: "rest/slow" }, async () => {
    await start();
    const txId = await putOrders(2_000);
    await ask(COUNT, txId);
    await node.close();
    await damage(await sqliteFile());
    await start();
    await expect(ask(COUNT)).rejects.toMatchObject({ code: "NOT_READY" });
    await expect.poll(async () => await ask(COUNT).catch(() => undefined)).toEqual([[2_000, 1_999_000]]);
    expect(await ask(WORDS)).toEqual([[2_000]]);
  });
});
