import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvProvider, levelProvider } from "@cairn/kv";
import { describe, expect, it, onTestFinished } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

/** Starts a node whose captures are passed to `remove` before they are opened. */
async function start(remove: (dir: string) => Promise<void>): Promise<CairnNode> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-removed-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const level = levelProvider();
  const kvProvider: KvProvider = {
    ...level,
    async open(dir) {
      if (path.basename(dir).startsWith("capture-")) await remove(dir);
      return await level.open(dir);
    },
  };
  const node = await runNode({ ...quietSystem({ folder, nodeId: "n", openTxLog }), kvProvider });
  onTestFinished(() => node.close());
  await node.ready;
  return node;
}

async function removeThose(dir: string, matches: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(dir)) if (matches(name)) await rm(path.join(dir, name));
}

describe("files removed from a capture before it is opened", () => {
  const cases: readonly [what: string, remove: (dir: string) => Promise<void>][] = [
    ["CURRENT", (dir) => removeThose(dir, (name) => name === "CURRENT")],
    ["the manifest", (dir) => removeThose(dir, (name) => name.startsWith("MANIFEST"))],
    ["all of them", (dir) => removeThose(dir, () => true)],
    ["the folder", (dir) => rm(dir, { recursive: true })],
  ];
  for (const [what, remove] of cases) {
    it(`make the checkpoint fail with a clear error, and the node keeps its index: ${what}`, async () => {
      let removing = true;
      const node = await start(async (dir) => {
        if (removing) await remove(dir);
      });
      await node.await((await node.submit({ ops: [["put", "pods", "default/a", 1]] })).txId);
      await expect(node.checkpoint().done).rejects.toMatchObject({
        code: "CHECKPOINT_INCOMPLETE",
        message: expect.stringContaining("were removed before it was saved"),
      });
      expect(await node.checkpoints()).toEqual([]);
      expect(await node.status()).toMatchObject({ phase: "ready", join: { movedAside: [] } });
      removing = false;
      expect(await node.checkpoint().done).toMatchObject({ checkpoint: { txId: 2 } });
    });
  }
});
