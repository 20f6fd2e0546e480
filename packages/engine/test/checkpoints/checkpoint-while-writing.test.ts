import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { verifyCheckpoint } from "../../src/checkpoints/verify-checkpoint.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

interface Scene {
  readonly node: CairnNode;
  readonly store: CheckpointStore;
  /** Reads a checkpoint back, opens it, and compares it with its manifest. */
  verify(name: string): Promise<{ readonly manifest: { readonly txId: number } }>;
}

async function scene(checkpointOnClose = false): Promise<Scene> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-writing-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const store = filesystemStore({ path: path.join(folder, "checkpoints") });
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const node = await runNode(
    quietSystem({ folder, nodeId: "a", openTxLog, checkpointer: { store, checkpointOnClose } }),
  );
  onTestFinished(() => node.close());
  await node.ready;
  const provider = levelProvider();
  const stagingDir = path.join(folder, "staging");
  return {
    node,
    store,
    verify: (name) => verifyCheckpoint({ store, name, provider, stagingDir, node: "verifier" }),
  };
}

async function lastApplied(node: CairnNode): Promise<number> {
  return (await node.status()).index.txId ?? 0;
}

/** Submits without a pause until it is stopped. `stop` returns the last acknowledged transaction. */
function keepWriting(node: CairnNode): { stop(): Promise<number> } {
  const end = new AbortController();
  const writing = (async () => {
    let last = 0;
    for (let n = 0; !end.signal.aborted; n += 1) {
      const ops = [["put", "things", `default/k${n % 50}`, { n, text: "x".repeat(500) }]] as const;
      ({ txId: last } = await node.submit({ ops }));
    }
    return last;
  })();
  return {
    stop: () => {
      end.abort();
      return writing;
    },
  };
}

it(
  "while writing continues, a checkpoint contains exactly the transactions that its manifest claims",
  { tags: "rest/slow" },
  async () => {
    const { node, store, verify } = await scene();
    const writer = keepWriting(node);
    const behind: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      const before = await lastApplied(node);
      await vi.waitFor(async () => expect(await lastApplied(node)).toBeGreaterThan(before + 20), {
        timeout: 30_000,
      });
      const taken = await node.checkpoint().done;
      if (!("checkpoint" in taken)) throw new Error("nothing was saved");
      behind.push((await lastApplied(node)) - taken.checkpoint.txId);
      expect((await verify(taken.checkpoint.name)).manifest.txId).toBe(taken.checkpoint.txId);
    }
    await writer.stop();
    // Writing continued during the checkpoints.
    expect(Math.max(...behind)).toBeGreaterThan(0);
    expect((await listCheckpoints(store)).checkpoints).toHaveLength(4);
  },
);

it("before its index is closed, a node that is configured to save on stopping saves everything that was indexed", async () => {
  const { node, store, verify } = await scene(true);
  const { txId } = await node.submit({ ops: [["put", "things", "default/last", 1]] });
  await node.await(txId);
  await node.close();
  const { checkpoints } = await listCheckpoints(store);
  expect(checkpoints.map((one) => one.txId)).toEqual([txId]);
  expect((await verify(checkpoints[0]?.name ?? "")).manifest.txId).toBe(txId);
});
