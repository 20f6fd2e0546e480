import { cp, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Writable } from "node:stream";
import { pino } from "pino";
import { expect, it, onTestFinished, vi } from "vitest";
import { formatStatus } from "@cairn/cli/src/node/status-screen";
import { type CairnNode, openEmbeddedTxLog, type TxLog } from "@cairn/engine";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

interface Line {
  readonly code?: string;
  readonly hint?: string;
  readonly msg: string;
}

interface Started {
  readonly node: CairnNode;
  readonly live: string;
  readonly lines: Line[];
  readonly log: () => TxLog | undefined;
}

async function start(): Promise<Started> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-gone-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const lines: Line[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Line);
      done();
    },
  });
  let log: TxLog | undefined;
  const openTxLog = async () => (log = await openEmbeddedTxLog({ path: path.join(folder, "log") }));
  const system = quietSystem({ folder, nodeId: "n", openTxLog });
  const node = await runNode(system, { logger: pino(stream), stall: { afterMs: 50 } });
  onTestFinished(() => node.close());
  await node.ready;
  await node.await((await node.submit({ ops: [["put", "pods", "default/a", 1]] })).txId);
  return { node, live: path.join(system.dbDir, "live"), lines, log: () => log };
}

const KEY = { bucket: "pods", namespace: "default", name: "a" };

it("a running node reports removed files of its index in the status and once in the log, with a remedy", async () => {
  const { node, live, lines } = await start();
  expect((await node.status()).index.warning).toBeUndefined();
  await rm(live, { recursive: true });
  expect(await node.get(KEY)).toMatchObject({ json: "1" });
  const status = await vi.waitFor(
    async () => {
      const newest = await node.status();
      expect(newest.index.warning).toMatchObject({
        code: "INDEX_CORRUPT",
        message: expect.stringContaining(live),
        hint: expect.stringContaining("start it again"),
      });
      return newest;
    },
    { timeout: 10_000, interval: 50 },
  );
  expect(formatStatus(status, { now: Date.now(), colors: false })).toMatch(/^Attention +INDEX_CORRUPT: /m);
  const told = (): Line[] => lines.filter(({ code }) => code === "INDEX_CORRUPT");
  await vi.waitFor(() => expect(told()).toMatchObject([{ msg: expect.stringContaining("were removed") }]));
});

it("a node does not save an index with removed files, but rebuilds the index and saves the new one", async () => {
  const { node, live } = await start();
  await rm(live, { recursive: true });
  await expect(node.checkpoint().done).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  expect(await node.checkpoints()).toEqual([]);
  await healed(node);
  expect(await node.checkpoint().done).toMatchObject({ checkpoint: { txId: 2 } });
});

it("a node keeps its open index if its files, the beginning of the log and all checkpoints are gone", async () => {
  const { node, live, lines, log } = await start();
  await log()?.trim?.(2);
  await rm(live, { recursive: true });
  await expect(node.checkpoint().done).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  await vi.waitFor(() =>
    expect(lines).toContainEqual(expect.objectContaining({ msg: expect.stringContaining("keeps its open") })),
  );
  expect(node.phase).toBe("ready");
  expect(await node.get(KEY)).toMatchObject({ json: "1" });
});

it("a node does not save another index that replaced its own", async () => {
  const { node, live } = await start();
  const other = await start();
  await other.node.await((await other.node.submit({ ops: [["put", "pods", "default/a", 2]] })).txId);
  await other.node.close();
  await rename(live, `${live}-before`);
  await cp(other.live, live, { recursive: true });
  await expect(node.checkpoint().done).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  expect(await node.checkpoints()).toEqual([]);
  await healed(node);
});

it("a node does not save another index whose files replaced its own in the same folder", async () => {
  const { node, live } = await start();
  const other = await start();
  await other.node.await((await other.node.submit({ ops: [["put", "pods", "default/a", 2]] })).txId);
  await other.node.close();
  for (const name of await readdir(live)) await rm(path.join(live, name), { recursive: true });
  await cp(other.live, live, { recursive: true });
  await expect(node.checkpoint().done).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  expect(await node.checkpoints()).toEqual([]);
  await healed(node);
});

/** Waits until the node has a complete index again, rebuilt from its own log. */
async function healed(node: CairnNode): Promise<void> {
  await vi.waitFor(
    async () => {
      const status = await node.status();
      expect(status.phase).toBe("ready");
      expect(status.index.warning).toBeUndefined();
      expect(status.index.bytes).toBeGreaterThan(0);
    },
    { timeout: 30_000, interval: 50 },
  );
  expect(await node.get(KEY)).toMatchObject({ json: "1" });
}
