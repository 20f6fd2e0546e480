import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvProvider, levelProvider, memoryProvider } from "@cairn/kv";
import { describe, expect, it, onTestFinished } from "vitest";
import { type CairnNode, openEmbeddedTxLog } from "@cairn/engine";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

/** A number of reads that is reached only if the node never yields. */
const MOST_READS = 100_000;
const key = { bucket: "pods", namespace: "default", name: "a" };

async function start(kvProvider: KvProvider): Promise<CairnNode> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-beside-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const node = await runNode({ ...quietSystem({ folder, nodeId: "n", openTxLog }), kvProvider });
  onTestFinished(() => node.close());
  await node.ready;
  await node.await((await node.submit({ ops: [["put", "pods", "default/a", 1]] })).txId);
  return node;
}

const reads: [string, (node: CairnNode) => Promise<unknown>][] = [
  ["documents", (node) => node.get(key)],
  ["documents of the past", (node) => node.get(key, { asOf: { txId: 2 } })],
  ["missing documents", (node) => node.get({ ...key, name: "b" })],
  ["lists", (node) => node.list({ bucket: "pods" })],
  ["histories", (node) => node.history(key)],
  ["outcomes", (node) => node.await(2)],
];

describe.each([
  ["memory", memoryProvider()],
  ["LevelDB", levelProvider()],
])("a program that sends one read after another to a node whose index is in %s", (_, provider) => {
  it.each(reads)("yields to the event loop: %s", async (_name, read) => {
    const node = await start(provider);
    const others = { ran: 0 };
    const timer = setInterval(() => (others.ran += 1), 1);
    let done = 0;
    for (; done < MOST_READS && others.ran < 5; done += 1) await read(node);
    clearInterval(timer);
    expect(others.ran).toBeGreaterThanOrEqual(5);
  });
});
