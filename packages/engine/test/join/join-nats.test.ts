// @module-tag nats
import { mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { s3Store } from "@cairn/checkpoint-s3";
import { connect } from "nats";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import type { OnLogMismatch } from "../../src/api/system.ts";
import { freePort } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
beforeEach(async () => {
  hurryClock();
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const DEFAULT: OnLogMismatch = { regressed: "rebuild", different: "halt" };

const start = (id: string, onLogMismatch = DEFAULT) => scene.start(id, { parts: { onLogMismatch } });
const started = (id: string, onLogMismatch = DEFAULT) => scene.ready(id, { parts: { onLogMismatch } });

async function failureOf(node: CairnNode): Promise<string | undefined> {
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  return (await node.status()).failure?.code;
}

describe("a node that joins a log on NATS", () => {
  it(
    "builds the same index as the other nodes that start simultaneously on an empty server",
    { tags: "rest/slow" },
    async () => {
      const all = await Promise.all(["a", "b", "c", "d"].map((id) => started(id)));
      const [first] = all;
      if (first === undefined) throw new Error("no node");
      await put(first, 0, 5, "x");
      const { digest, txId } = await first.digest();
      expect(txId).toBe(6);
      for (const node of all) {
        await node.await(txId);
        expect(await node.digest()).toEqual({ txId, digest });
      }
    },
  );

  it(
    "continues after the server was killed and restarted, and loses nothing",
    { tags: "rest/slow" },
    async () => {
      const node = await started("a");
      await put(node, 0, 20, "before");
      await scene.nats.kill();
      const submitted = node.submit({ ops: [["put", "things", "default/late", 1]] });
      await scene.nats.start();
      const { txId } = await submitted;
      await node.await(txId);
      await put(node, 20, 40, "after");
      const fresh = await started("b");
      expect(await fresh.digest()).toEqual(await node.digest());
      expect((await fresh.status()).index.documents).toBe(41);
    },
  );

  it(
    "restores a checkpoint that agrees with the log if the log lost its end, and keeps the orphans of the old index",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      await put(a, 0, 10, "kept");
      await saveCheckpoint(a);
      await scene.copyLog();
      await put(a, 10, 20, "lost");
      await saveCheckpoint(a);
      await a.close();
      await scene.rollBackLog();
      // Another node has continued in the meantime: the same positions hold other messages.
      const b = await started("b");
      expect((await b.status()).join.skipped).toMatchObject([{ code: "LOG_REGRESSED" }]);
      await put(b, 10, 25, "new");

      const again = await started("a");
      expect(await again.digest()).toEqual(await b.digest());
      const { join } = await again.status();
      expect(join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
      expect(join.restoredFrom).toMatchObject({ txId: 11 });
      // The next checkpoint is saved, although the store has one of the lost history with a higher tx-id.
      await expect(again.checkpoint().done).resolves.toMatchObject({ checkpoint: { txId: 26 } });
    },
  );

  it(
    "detects at runtime that the log has a different history, and never serves it",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      await put(a, 0, 10, "kept");
      await scene.copyLog();
      await put(a, 10, 20, "lost");
      await scene.rollBackLog();
      await vi.waitFor(async () => expect((await a.status()).join.movedAside).toHaveLength(1), {
        timeout: 30_000,
      });
      await vi.waitFor(() => expect(a.phase).toBe("ready"), { timeout: 30_000 });
      const fresh = await started("b");
      expect(await a.digest()).toEqual(await fresh.digest());
      expect((await a.status()).index.documents).toBe(10);
    },
  );

  describe.each<[number, string[]]>([
    [3, []],
    [3_000, ["rest/slow"]],
  ])("%i transactions after the log lost one", (others, tags) => {
    it("never returns another transaction's outcome for it", { tags }, async () => {
      const a = await started("a");
      await put(a, 0, 10, "kept");
      await scene.copyLog();
      const lost = await a.submit({ ops: [["match", "things", "default/none", 1]] });
      await scene.rollBackLog();
      const b = await started("b");
      await put(b, 10, 10 + others, "new");
      const { digest, txId } = await b.digest();
      await a.await(txId);
      // Its index contains the transaction before its tables and fields have been checked.
      await vi.waitFor(() => expect(a.phase).toBe("ready"));
      expect((await a.digest()).digest).toBe(digest);
      await expect(a.await(lost)).rejects.toMatchObject({ code: "LOG_REGRESSED" });
      const kept = await a.submit({ ops: [["put", "things", "default/kept", 1]] });
      await expect(a.await(kept)).resolves.toMatchObject({ txId: kept.txId, committed: true });
    });
  });

  it("halts on a regressed log if configured to", { tags: "rest/slow" }, async () => {
    const a = await started("a");
    await put(a, 0, 5, "kept");
    await scene.copyLog();
    await put(a, 5, 10, "lost");
    await a.close();
    await scene.rollBackLog();
    expect(await failureOf(await start("a", { ...DEFAULT, regressed: "halt" }))).toBe("LOG_REGRESSED");
    expect(await readdir(path.join(scene.folder, "a-index"))).not.toContain("quarantine");
  });

  it(
    "halts on an empty server when a checkpoint proves that there was a log, and creates none",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      await put(a, 0, 5, "x");
      await saveCheckpoint(a);
      await a.close();
      await scene.loseLog();
      const b = await start("b");
      expect(await failureOf(b)).toBe("LOG_DIFFERENT");
      expect((await b.status()).failure?.message).toMatch(
        new RegExp(
          `^There is no log "cairn" at 127.0.0.1:\\d+, but checkpoint \\S+ in \\S+ holds transactions up to 6`,
        ),
      );
      const client = await connect({ servers: scene.nats.url });
      try {
        expect(await (await client.jetstreamManager()).streams.names().next()).toEqual([]);
      } finally {
        await client.close();
      }
      await b.close();
      // If configured to, it begins a new log and skips the old checkpoints.
      const c = await started("c", { ...DEFAULT, different: "rebuild" });
      await put(c, 0, 1, "y");
      expect((await c.status()).index).toMatchObject({ documents: 1, txId: 2 });
    },
  );

  it(
    "reports a lost log even if no store can be searched for a checkpoint of it",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      await put(a, 0, 5, "x");
      await a.close();
      await scene.loseLog();
      const unreachable = s3Store({
        bucket: "checkpoints",
        endpoint: `http://127.0.0.1:${await freePort()}`,
        region: "us-east-1",
        credentials: { accessKeyId: "key", secretAccessKey: "secret" },
        maxAttempts: 1,
      });
      const again = await scene.start("a", { store: unreachable });
      expect(await failureOf(again)).toBe("LOG_DIFFERENT");
      const { failure } = await again.status();
      expect(failure?.message).toContain("the local index holds transactions up to 6");
      expect(failure?.hint).toContain("STORE_UNREACHABLE");
      expect(failure?.hint).toContain("cairn log status names the command");
    },
  );

  it(
    "joins a trimmed log from a checkpoint, and reports the missing transactions if there is no checkpoint",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      await put(a, 0, 10, "x");
      await saveCheckpoint(a);
      await put(a, 10, 12, "y");
      const digest = await a.digest();
      const client = await connect({ servers: scene.nats.url });
      // The log is purged up to the checkpoint's last message, which is kept.
      await (await client.jetstreamManager()).streams.purge("cairn", { seq: 11 });
      await client.close();
      const b = await started("b");
      expect(await b.digest()).toEqual(digest);
      expect((await b.status()).log).toMatchObject({ firstTxId: 11, lastTxId: 13 });

      await rm(path.join(scene.folder, "checkpoints"), { recursive: true });
      const c = await start("c");
      expect(await failureOf(c)).toBe("LOG_TRIMMED");
      const { failure } = await c.status();
      expect(failure?.message).toContain("before its message 11");
      expect(failure?.hint).toContain(
        "Or save a checkpoint on a ready node of this log: cairn checkpoint create --url URL",
      );
      // The hint is followed literally, with the store mounted again.
      await mkdir(path.join(scene.folder, "checkpoints"));
      await put(a, 12, 13, "z");
      await saveCheckpoint(a);
      await vi.waitFor(() => expect(c.phase).toBe("ready"), { timeout: 30_000, interval: 50 });
      expect(await c.digest()).toEqual(await a.digest());
      expect((await c.status()).failure).toBeNull();
    },
  );

  it("halts on a stream that is not a Cairn log, and does not change it", async () => {
    const client = await connect({ servers: scene.nats.url });
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: "cairn", subjects: ["cairn.tx"] });
    await client.jetstream().publish("cairn.tx", "hello");
    expect(await failureOf(await start("a"))).toBe("LOG_DIFFERENT");
    expect((await manager.streams.info("cairn")).state.messages).toBe(1);
    await client.close();
  });
});
