import { EventEmitter, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

async function start(folder: string, nodeId: string, store: CheckpointStore): Promise<CairnNode> {
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const node = await runNode(quietSystem({ folder, nodeId, openTxLog, checkpointer: { store } }));
  onTestFinished(() => node.close());
  return node;
}

it("after a restore fails halfway, the status shows no progress and no remaining time, and then the progress of the next attempt", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-failed-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const store = filesystemStore({ path: path.join(folder, "checkpoints") });
  const first = await start(folder, "a", store);
  await first.ready;
  await first.await((await first.submit({ ops: [["put", "pods", "default/a", 1]] })).txId);
  await saveCheckpoint(first);
  await first.close();

  const [archive = ""] = (await store.list("checkpoint-")).flatMap(({ name }) =>
    name.endsWith(".tar") ? [name] : [],
  );
  async function* half(): AsyncGenerator<Buffer> {
    for await (const chunk of await store.open(archive)) {
      yield Buffer.from(chunk as Uint8Array);
      throw new CairnError("DISK_FULL", "The disk has no space left.");
    }
  }
  let tries = 0;
  const gate = new EventEmitter();
  const breaking: CheckpointStore = {
    ...store,
    async open(name, options) {
      tries += 1;
      if (tries === 1) return Readable.from(half());
      await once(gate, "open");
      return await store.open(name, options);
    },
  };
  const node = await start(folder, "b", breaking);
  await vi.waitFor(async () => expect((await node.status()).phase).toBe("failed"));
  expect(await node.status()).toMatchObject({ failure: { code: "DISK_FULL" }, progress: null });
  await vi.waitFor(() => expect(tries).toBe(2), { timeout: 30_000 });
  gate.emit("open");
  await node.ready;
  expect(await node.status()).toMatchObject({ phase: "ready", progress: null });
});
