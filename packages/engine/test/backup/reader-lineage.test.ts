// @module-tag nats
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { filesystemStore } from "@cairn/checkpoint";
import type { System } from "../../src/api/system.ts";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { done } from "@cairn/test-support/nodes/recovery-scene";
import { readerParts, watchedStore } from "./reader-scene.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const logBackup = { every: 200, keep: "all", codec: "none" } as const;
const SOON = { timeout: 20_000 };

const isCovered = async (node: CairnNode): Promise<void> => {
  await vi.waitFor(async () => {
    const { index, logBackup: held } = await node.status();
    expect(held?.covered?.at(-1)?.last).toBe(index.txId);
  }, SOON);
};

describe("a node that reads its log from a store with the backups of several logs", () => {
  let scene: ClusterScene;
  let writer: CairnNode;
  beforeEach(async () => {
    scene = await ClusterScene.open();
    writer = await scene.ready("writer", { parts: { logBackup } });
    await put(writer, 0, 10, "first");
  });
  afterEach(() => scene.close());

  /**
   * Deletes the log, recovers it from a checkpoint that contains everything, and writes to the log that continues it.
   */
  const recover = async (): Promise<void> => {
    await saveCheckpoint(writer);
    await isCovered(writer);
    await scene.stop(writer);
    await NatsOperator.at(scene.nats.url, (nats) => nats.deleteStream());
    const checkpoints = path.join(scene.folder, "checkpoints");
    const env = { NATS_URL: scene.nats.url, CAIRN_CHECKPOINT_PATH: checkpoints };
    const recovered = await cairn(
      ["log", "recover", "--from", checkpoints],
      new CapturedTerminal({ cwd: scene.folder, env }),
    );
    expect([recovered.code, recovered.stderr]).toEqual([0, ""]);
    writer = await scene.ready("writer", { parts: { logBackup } });
    await put(writer, 0, 5, "second");
    await isCovered(writer);
  };

  /** Writes an unrelated log, and its backup to the same store. Returns its id. */
  const another = async (): Promise<string> => {
    const openTxLog: System["openTxLog"] = async () =>
      await openEmbeddedTxLog({ path: path.join(scene.folder, "other-log") });
    const other = await scene.ready("other", { parts: { openTxLog, logBackup } });
    await put(other, 0, 3, "other");
    await isCovered(other);
    const { log } = await other.status();
    await scene.stop(other);
    return log.id ?? "";
  };

  it(
    "continues with the recovered log, which a new node reads immediately",
    { tags: "rest/slow" },
    async () => {
      await isCovered(writer);
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      await recover();
      const expected = await writer.digest();
      expect(expected.txId).toBe(17);
      await vi.waitFor(async () => expect(await reader.digest()).toEqual(expected), SOON);
      expect((await reader.status()).log.id).toBe((await writer.status()).log.id);
      const second = await scene.ready("second", { parts: readerParts(store) });
      expect(await second.digest()).toEqual(expected);
    },
  );

  it(
    "leaves an abandoned log for one that begins earlier, which a new reader reads immediately",
    { tags: "rest/slow" },
    async () => {
      await isCovered(writer);
      const { store } = watchedStore(scene);
      const reader = await scene.ready("reader", { parts: readerParts(store) });
      await recover();
      await vi.waitFor(async () => expect(await reader.digest()).toEqual(await writer.digest()), SOON);
      await scene.stop(writer);
      await scene.loseLog();
      await done(scene, "log", "recover", "--at-tx", "8", "--yes");
      writer = await scene.ready("writer", { parts: { logBackup } });
      await put(writer, 20, 23, "third");
      await isCovered(writer);
      const expected = await writer.digest();
      expect(expected.txId).toBe(12);
      await vi.waitFor(async () => expect(await reader.digest()).toEqual(expected), SOON);
      const second = await scene.ready("second", { parts: readerParts(store) });
      expect(await second.digest()).toEqual(expected);
    },
  );

  it(
    "stays with the log that log-id names, and reports the one that continues it",
    { tags: "rest/slow" },
    async () => {
      await isCovered(writer);
      const { store } = watchedStore(scene);
      const logId = (await writer.status()).log.id ?? "";
      const parts = readerParts(store, { logId });
      const reader = await scene.ready("reader", { parts, stall: { afterMs: 200 } });
      await recover();
      const next = (await writer.status()).log.id ?? "";
      await vi.waitFor(async () => {
        const { log } = await reader.status();
        expect(log.id).toBe(logId);
        expect(log.warnings).toMatchObject([{ code: "LOG_DIFFERENT", hint: expect.stringContaining(next) }]);
      }, SOON);
      expect((await reader.digest()).txId).toBe(11);
    },
  );

  it(
    "names the logs if neither continues the other, and reads the one that log-id names",
    { tags: "rest/slow" },
    async () => {
      await isCovered(writer);
      const ids = [await another(), (await writer.status()).log.id ?? ""];
      const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
      const refused = await scene.start("reader", { parts: readerParts(store) });
      await vi.waitFor(async () => {
        const { failure, phase } = await refused.status();
        expect(phase).toBe("failed");
        expect(failure).toMatchObject({ code: "CONFIG_INVALID", hint: expect.stringContaining("log-id") });
        for (const id of ids) expect(failure?.message).toContain(id);
      }, SOON);
      const chosen = await scene.ready("chosen", { parts: readerParts(store, { logId: ids[1] ?? "" }) });
      expect(await chosen.digest()).toEqual(await writer.digest());
    },
  );
});
