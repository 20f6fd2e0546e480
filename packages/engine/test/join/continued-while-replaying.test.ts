import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { filesystemStore, listCheckpoints } from "@cairn/checkpoint";
import { expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { encodeBirthRecord } from "../../src/transactions/transaction-codec.ts";
import { Gate } from "./gate.ts";
import { readThrough } from "./read-through.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

async function start(folder: string, gate: Gate): Promise<CairnNode> {
  const openTxLog = async () =>
    readThrough(await openEmbeddedTxLog({ path: path.join(folder, "log") }), gate);
  return await runNode(quietSystem({ folder, nodeId: "n", openTxLog }));
}

it("a node is not ready before its index has read how its log continues, and submits under the new log's ids", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-seam-"));
  const gate = new Gate();
  const nodes: CairnNode[] = [];
  try {
    const old = await start(folder, gate);
    nodes.push(old);
    await old.ready;
    for (const value of [1, 2]) {
      const { txId } = await old.submit({ ops: [["put", "things", "default/a", value]] });
      await old.await(txId);
    }
    await saveCheckpoint(old);
    await old.close();
    const [saved] = (await listCheckpoints(filesystemStore({ path: path.join(folder, "checkpoints") })))
      .checkpoints;
    if (saved === undefined) throw new Error("no checkpoint");
    for (const lost of ["log", "n-index"]) await rm(path.join(folder, lost), { recursive: true });
    const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
    const continues = { log: saved.log.id, anchor: saved.anchor };
    await log.create((id) => encodeBirthRecord({ log: id, offset: saved.txId, deliberate: true, continues }));
    await log.close();

    gate.close();
    const node = await start(folder, gate);
    nodes.push(node);
    await gate.reached();
    await vi.waitFor(() => expect(node.phase).toBe("replaying"));
    expect(await node.status()).toMatchObject({ index: { txId: 3, lag: 1 }, log: { lastTxId: 4 } });
    const { txId } = await node.submit({ ops: [["put", "things", "default/a", 3]] });
    expect(txId).toBe(5);
    gate.open();
    expect(await node.await(txId)).toMatchObject({ committed: true });
    expect(await node.get({ bucket: "things", namespace: "default", name: "a" })).toMatchObject({
      revision: 5,
    });
  } finally {
    await Promise.all(nodes.map((node) => node.close()));
    await rm(folder, { recursive: true, force: true });
  }
});
