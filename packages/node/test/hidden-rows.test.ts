import { randomBytes } from "node:crypto";
import { cp, mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { isCairnError, type KvProvider, type KvStore, levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { IndexStore, openIndex, type NodeEvent, openEmbeddedTxLog, type CairnNode } from "@cairn/engine";
import { readState } from "@cairn/engine/src/index/rows/index-state";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

const names = Array.from({ length: 70 }, (_, n) => `k${n}`);
const HIDDEN = "k37";
const key = (name: string) => ({ bucket: "pods", namespace: "default", name });
/**
 * The distance in bytes between the last byte of a name, which ends the row's key, and the document: LevelDB puts eight bytes after a key,
 * and a version value has 22 bytes before its document.
 */
const NAME_BEFORE_DOCUMENT = 8 + 22 + 2;
/** The namespace as it appears in keys. */
const NAMESPACE = "default\0";

let folder = "";
let nodes: CairnNode[] = [];
let store: KvStore;
let events: NodeEvent[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-hidden-"));
  events = [];
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
  await rm(folder, { recursive: true, force: true });
});

/** Returns a LevelDB provider whose newest store the test can compact. */
function remembered(compression: boolean): KvProvider {
  const level = levelProvider({ compression });
  return { ...level, open: async (...where) => (store = await level.open(...where)) };
}

async function start(scrubEvery?: number, compression = false): Promise<CairnNode> {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-log") });
  const system = {
    ...quietSystem({ folder, nodeId: "node", openTxLog }),
    kvProvider: remembered(compression),
    ...(scrubEvery === undefined ? {} : { scrubEvery }),
  };
  const node = await runNode(system, { onEvent: (event) => events.push(event) });
  nodes.push(node);
  return node;
}

/** Writes documents of this many bytes to the tables of a running node. */
async function written(node: CairnNode, bytes: number, isRandom = true): Promise<Map<string, string>> {
  await node.ready;
  const text = (name: string): string =>
    isRandom ? randomBytes(bytes / 2).toString("hex") : name.padEnd(bytes, name);
  const documents = new Map(names.map((name) => [name, JSON.stringify(text(name))]));
  const submitted = [...documents].map(([name, json]) =>
    node.submit({ ops: [["put", "pods", name, JSON.parse(json)]] }),
  );
  const { txId } = (await Promise.all(submitted)).at(-1) ?? { txId: 0 };
  await node.await(txId);
  await store.compact();
  return documents;
}

/** Changes the byte at the offset that `find` returns in one of the live index's tables. */
async function damage(find: (table: Buffer) => number): Promise<void> {
  const live = path.join(folder, "node-index", "live");
  for (const name of (await readdir(live)).filter((file) => file.endsWith(".ldb"))) {
    const bytes = await readFile(path.join(live, name));
    const at = find(bytes);
    if (at < 0) continue;
    const file = await open(path.join(live, name), "r+");
    await file.write(Buffer.from([bytes.readUInt8(at) ^ 0x40]), 0, 1, at);
    await file.close();
    return;
  }
  throw new Error("Nothing was damaged.");
}

/** Returns the position of the last character of the name in the document's row. */
const inKeyOf = (json: string) => (table: Buffer) => {
  const at = table.indexOf(json);
  return at < 0 ? at : at - NAME_BEFORE_DOCUMENT;
};
/**
 * Returns a position in the last key of the table's block index, an upper bound of a block's keys: if it is too low,
 * LevelDB searches for keys in the next block.
 */
const inIndexBlock = (table: Buffer): number => {
  const at = table.lastIndexOf(NAMESPACE);
  return at < 0 ? at : at + NAMESPACE.length;
};
const inFirstBlock = (): number => 30;

/** Reads every document as soon as the node serves reads, which it refuses until then. */
async function readAll(node: CairnNode): Promise<Map<string, string | undefined>> {
  return await vi.waitFor(
    async () => {
      const read = await Promise.all(names.map((name) => node.get(key(name))));
      return new Map(read.map((document, n) => [names[n] ?? "", document?.json]));
    },
    { timeout: 30_000, interval: 1 },
  );
}

async function expectRebuilt(node: CairnNode, documents: Map<string, string>): Promise<void> {
  await vi.waitFor(async () => {
    expect((await node.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
    expect(node.phase).toBe("ready");
  }, 30_000);
  expect(await readAll(node)).toEqual(documents);
}

const scrubs = () => events.filter(({ work }) => work === "scrub");

describe("a running node that scrubs its index", () => {
  it("finds a table in which a changed byte hides a document, and rebuilds its index", async () => {
    const node = await start(100);
    const documents = await written(node, 100);
    await vi.waitFor(() => expect(scrubs()).toContainEqual(expect.objectContaining({ outcome: "whole" })));
    await damage(inKeyOf(documents.get(HIDDEN) ?? ""));
    await expectRebuilt(node, documents);
    expect(scrubs()).toContainEqual(
      expect.objectContaining({ stage: "failed", error: expect.objectContaining({ code: "INDEX_CORRUPT" }) }),
    );
    expect(await node.metrics()).toContain('cairn_work_failures_total{work="scrub",code="INDEX_CORRUPT"} 1');
  });

  it.each([
    ["a compressed block", true, inFirstBlock],
    ["the index of a table's blocks", false, inIndexBlock],
  ])("finds a changed byte of %s", async (_, compression, place) => {
    const node = await start(100, compression);
    const documents = await written(node, 100, !compression);
    await damage(place);
    await expectRebuilt(node, documents);
  });

  it("reports in its status when the last scrub ended, how long it took, and how many bytes it compared", async () => {
    const node = await start(100);
    await written(node, 100);
    await vi.waitFor(async () => expect((await node.status()).index.lastScrub?.bytes).toBeGreaterThan(7_000));
    const { lastScrub } = (await node.status()).index;
    expect(Date.now() - Date.parse(lastScrub?.at ?? "")).toBeLessThan(60_000);
    expect(lastScrub?.durationMs).toBeGreaterThanOrEqual(0);
  });

  it.each([
    ["its key", undefined],
    ["the index of the table's blocks", inIndexBlock],
  ])("would, without scrubs, miss a document after a byte of %s was changed", async (_, place) => {
    const node = await start();
    // A larger document is in a row of its own, without which its version is damaged.
    const documents = await written(node, 80);
    expect(await readAll(node)).toEqual(documents);
    await damage(place ?? inKeyOf(documents.get(HIDDEN) ?? ""));
    // LevelDB keeps the block index of an open table in memory.
    const copy = path.join(folder, "copy");
    await cp(path.join(folder, "node-index", "live"), copy, { recursive: true });
    const { kv } = await openIndex(levelProvider(), copy);
    const index = await IndexStore.open(kv, (await readState(kv)) ?? expect.fail());
    const read = await Promise.all(names.map((name) => index.get(key(name))));
    await index.close();
    expect(read).toContain(undefined);
    expect(scrubs()).toEqual([]);
  });
});

describe("a node that is started with a damaged table", () => {
  // At most 16 MB is compared before the index is opened, and the rest while it is open.
  it.each([
    ["of a key, of a small index", 100, undefined],
    ["of the index of a table's blocks, of a small index", 100, inIndexBlock],
    ["of a key, of a large index", 300_000, undefined],
    ["of the index of a table's blocks, of a large index", 300_000, inIndexBlock],
  ])(
    "never returns a wrong answer after a byte was changed %s",
    { tags: "rest/slow" },
    async (_, bytes, place) => {
      const first = await start();
      const documents = await written(first, bytes);
      await first.close();
      await damage(place ?? inKeyOf(documents.get(HIDDEN) ?? ""));
      const node = await start();
      // These are the first successful reads.
      expect(await readAll(node)).toEqual(documents);
      await expectRebuilt(node, documents);
    },
  );

  it(
    "checks its tables before it is ready, and serves nothing until then",
    { tags: "rest/slow" },
    async () => {
      const first = await start();
      const documents = await written(first, 300_000);
      await first.close();
      await damage(inKeyOf(documents.get(HIDDEN) ?? ""));
      const node = await start();
      const wrong: unknown[] = [];
      await vi.waitFor(
        async () => {
          try {
            const found = await node.get(key(HIDDEN));
            if (found?.json !== documents.get(HIDDEN)) wrong.push(found);
          } catch (error) {
            if (!isCairnError(error) || !["NOT_READY", "INDEX_CORRUPT"].includes(error.code))
              wrong.push(error);
            throw error;
          }
        },
        { timeout: 30_000, interval: 0 },
      );
      expect(wrong).toEqual([]);
    },
  );
});
