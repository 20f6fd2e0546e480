// @module-tag nats
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RebuildOptions, type RebuiltIndex, rebuildIndex } from "../../src/replay/rebuild-index.ts";
import { openIndex } from "../../src/index/local-index.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { TxLog } from "../../src/log/tx-log.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
let log: TxLog;
beforeEach(async () => {
  scene = await ClusterScene.open();
  log = await openNatsTxLog({ servers: [scene.nats.url] });
});
afterEach(async () => {
  await log.close();
  await scene.close();
});

async function rebuild(txId: number, options: Partial<RebuildOptions> = {}): Promise<RebuiltIndex> {
  const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
  const openTxLog = (): Promise<TxLog> => Promise.resolve(log);
  const checkpointer = { store };
  return await rebuildIndex({
    system: quietSystem({ folder: scene.folder, nodeId: "rebuilder", openTxLog, checkpointer }),
    log,
    dir: path.join(scene.folder, "rebuilt"),
    txId,
    signal: new AbortController().signal,
    ...options,
  });
}

async function trimmed(position: number): Promise<void> {
  await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(position));
}

describe("a rebuilt index", () => {
  it(
    "ends exactly at the requested transaction, has the fold's digest, and is usable by a node",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      await put(a, 0, 1_200, "x");
      const progress: number[] = [];
      const rebuilt = await rebuild(700, { onProgress: (done) => progress.push(done) });
      expect(rebuilt).toMatchObject({ txId: 700, basis: "the log from its first message" });
      expect(rebuilt.digest).toBe((await scene.fold(700)).digest());
      expect(progress.at(-1)).toBe(700);
      const { kv, state } = await openIndex(levelProvider(), rebuilt.live);
      await kv.close();
      expect(state?.txId).toBe(700);
      expect((await rebuild(1)).txId).toBe(1);
    },
  );

  it(
    "begins with a checkpoint if the log lost its beginning, but never with one of the node under examination",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const b = await scene.ready("b");
      await put(a, 0, 10, "x");
      await b.await(11);
      await saveCheckpoint(a);
      await put(a, 10, 20, "x");
      await b.await(21);
      await saveCheckpoint(b);
      await put(a, 20, 30, "x");
      const digest = (await scene.fold(25)).digest();
      await trimmed(11);
      expect(await rebuild(25)).toMatchObject({
        digest,
        basis: expect.stringContaining("saved by b") as string,
      });
      expect(await rebuild(25, { exceptNode: "b" })).toMatchObject({
        digest,
        basis: expect.stringMatching(/^checkpoint-11-.* saved by a, and the log after it$/) as string,
      });
      expect(await rebuild(15)).toMatchObject({ basis: expect.stringContaining("saved by a") as string });
    },
  );

  it("is refused if neither the log nor another node's checkpoint has the beginning", async () => {
    const a = await scene.ready("a");
    await put(a, 0, 10, "x");
    await saveCheckpoint(a);
    await trimmed(5);
    await expect(rebuild(11, { exceptNode: "a" })).rejects.toMatchObject({ code: "LOG_TRIMMED" });
    await expect(rebuild(8)).rejects.toMatchObject({ code: "LOG_TRIMMED" });
  });

  it("is refused immediately if the log ends earlier", async () => {
    const a = await scene.ready("a");
    await put(a, 0, 3, "x");
    await expect(rebuild(5)).rejects.toMatchObject({ code: "LOG_REGRESSED" });
  });

  it("leaves nothing open when it is aborted midway", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    await put(a, 0, 1_100, "x");
    const stop = new AbortController();
    const stopped = rebuild(1_000, {
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("stopped")),
    });
    await expect(stopped).rejects.toThrow("stopped");
    expect((await rebuild(1_000)).txId).toBe(1_000);
  });
});
