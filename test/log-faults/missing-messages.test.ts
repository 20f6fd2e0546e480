// @module-tag nats
import { rm } from "node:fs/promises";
import path from "node:path";
import type { CairnNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  expectNoReads,
  waitForFailure,
  FaultScene,
  put,
  values,
  saveCheckpoint,
} from "@cairn/test-support/fault-scene";

let scene: FaultScene;
beforeEach(async () => {
  scene = await FaultScene.open();
});
afterEach(async () => await scene.close());

const KEY = { bucket: "things", namespace: "default", name: "k0" };

describe("a node that was down while messages that it lacks were purged from the log", () => {
  it("continues from a newer checkpoint and finally has the other nodes' digest", async () => {
    const a = await scene.ready("a");
    const b = await scene.ready("b");
    await put(a, 0, 10, "early");
    await b.close();
    const last = await put(a, 5, 20, "late");
    await saveCheckpoint(a);
    await scene.operate(async (operator) => await operator.purgeBefore(last));
    await put(a, 20, 25, "tail");
    const again = await scene.ready("b");
    const { join } = await again.status();
    expect(join.restoredFrom).toMatchObject({ txId: last });
    expect(join.movedAside).toMatchObject([{ code: "LOG_TRIMMED" }]);
    expect(await again.digest()).toEqual(await a.digest());
    expect(await values(again)).toMatchObject({ k0: "early", k5: "late", k24: "tail" });
  });

  it("halts if no newer checkpoint exists, and still serves stale reads", async () => {
    const a = await scene.ready("a");
    const b = await scene.ready("b");
    await put(a, 0, 10, "early");
    await saveCheckpoint(b);
    await b.close();
    const last = await put(a, 10, 20, "late");
    await scene.operate(async (operator) => await operator.purgeBefore(last));
    const again = await scene.start("b");
    expect(await waitForFailure(again)).toMatchObject({
      code: "LOG_TRIMMED",
      message: expect.stringContaining(`before its message ${last}`) as string,
    });
    await expectNoReads(again);
    expect(await again.get(KEY, { stale: true })).toMatchObject({ json: '"early"' });
  });

  it(
    "continues, like a new node, if the whole log was purged and lacks nothing, and neither of them creates a log in its place",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const last = await put(a, 0, 10, "early");
      await saveCheckpoint(a);
      await a.close();
      await scene.operate(async (operator) => await operator.purgeBefore(last + 1));
      for (const id of ["a", "new"]) {
        const node = await scene.start(id);
        await node.ready;
        expect(await values(node)).toMatchObject({ k0: "early", k9: "early" });
        await node.close();
      }
      expect(await scene.operate(async (operator) => (await operator.info()).state)).toMatchObject({
        messages: 0,
        last_seq: last,
      });
    },
  );
});

/**
 * Both nodes, and a checkpoint in the folder "lost", end with 5 transactions that the log loses. Node a has 5 others in
 * their place, saves a checkpoint after so many of them, and writes 2 more, with which the log begins.
 */
async function replaced(savedAfter?: number): Promise<CairnNode> {
  const a = await scene.ready("a");
  const b = await scene.ready("b", { checkpoints: "lost" });
  await put(a, 0, 10, "early");
  await scene.copyStore();
  const last = await put(a, 10, 15, "lost");
  await b.await(last);
  await saveCheckpoint(b);
  await a.close();
  await b.close();
  await scene.stopAndRestoreStore();
  await scene.nats.start();
  const again = await scene.ready("a");
  let end = 0;
  for (let n = 1; n <= 5; n += 1) {
    end = await put(again, 9 + n, 10 + n, "new");
    if (n === savedAfter) await saveCheckpoint(again);
  }
  expect(end).toBe(last);
  await put(again, 20, 22, "tail");
  await scene.operate(async (operator) => await operator.purgeBefore(last + 1));
  return again;
}
const NEW = { k10: "new", k14: "new", k21: "tail" };

/** Expects that it continues from the first checkpoint that leads to the log. */
async function recovers(node: CairnNode, a: CairnNode): Promise<void> {
  expect(await waitForFailure(node)).toMatchObject({ code: "LOG_TRIMMED" });
  await saveCheckpoint(a);
  await vi.waitFor(() => expect(node.phase).toBe("ready"), { timeout: 30_000 });
  expect(await values(node)).toMatchObject(NEW);
}

describe("a node with an index or a checkpoint of a history that the log has lost, if the log begins after it", () => {
  it(
    "moves its index aside if a checkpoint ends with another transaction in its place, and restores that",
    { tags: "rest/slow" },
    async () => {
      await (await replaced(5)).close();
      const b = await scene.ready("b");
      expect((await b.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
      expect(await values(b)).toMatchObject(NEW);
    },
  );

  it(
    "moves its index aside if an earlier checkpoint, stored later, shows it",
    { tags: "rest/slow" },
    async () => {
      const a = await replaced(2);
      await a.close();
      const b = await scene.start("b");
      await waitForFailure(b);
      const [moved] = (await b.status()).join.movedAside;
      expect(moved).toMatchObject({ code: "LOG_REGRESSED" });
      expect(moved?.message).toContain("which was stored later");
      await recovers(b, await scene.ready("a"));
    },
  );

  it("moves its index aside if only a node that answers shows it", { tags: "rest/slow" }, async () => {
    const a = await replaced();
    const b = await scene.start("b");
    await waitForFailure(b);
    const [moved] = (await b.status()).join.movedAside;
    expect(moved).toMatchObject({ code: "LOG_REGRESSED" });
    expect(moved?.message).toContain("node a contain different transactions");
    await recovers(b, a);
  });

  it("halts instead, and serves nothing, if it is configured to", { tags: "rest/slow" }, async () => {
    await replaced();
    const b = await scene.start("b", { onLogMismatch: { regressed: "halt" } });
    expect(await waitForFailure(b)).toMatchObject({ code: "LOG_REGRESSED" });
    await expectNoReads(b);
  });

  it("does not restore the checkpoint if a node that answers shows it", { tags: "rest/slow" }, async () => {
    await replaced();
    const c = await scene.start("c", { checkpoints: "lost" });
    expect(await waitForFailure(c)).toMatchObject({ code: "LOG_TRIMMED" });
    // A node may have saved an earlier one by itself, which ends before the log's beginning.
    const [newest] = (await c.status()).join.skipped;
    expect(newest).toMatchObject({ code: "LOG_REGRESSED" });
  });

  it(
    "keeps its index if only an earlier checkpoint of the lost history differs from it",
    { tags: "rest/slow" },
    async () => {
      const a = await replaced();
      const { index } = await a.status();
      await a.close();
      await scene.operate(async (operator) => await operator.purgeBefore((index.txId ?? 0) + 1));
      const again = await scene.ready("a", { checkpoints: "lost" });
      expect((await again.status()).join).toMatchObject({ movedAside: [], restoredFrom: null });
      expect(await values(again)).toMatchObject(NEW);
    },
  );
});

describe("a log from which messages in the middle were deleted", () => {
  it(
    "halts a node that was down in the meantime: it reports the range and applies nothing beyond it",
    { tags: "rest/slow" },
    async () => {
      await scene.operate(async (operator) => await operator.makeDeletable());
      const a = await scene.ready("a");
      const b = await scene.ready("b");
      await put(a, 0, 5, "early");
      await b.await(6);
      await b.close();
      await put(a, 5, 20, "late");
      await scene.operate(async (operator) => {
        for (const position of [10, 11, 12, 15]) await operator.deleteMessage(position);
      });
      const again = await scene.start("b");
      expect(await waitForFailure(again)).toMatchObject({
        code: "LOG_GAP",
        message: expect.stringContaining("messages 10 to 12") as string,
      });
      await expectNoReads(again);
      const txId = (await again.status()).index.txId ?? 0;
      expect(txId).toBeLessThan(10);
      expect((await scene.fold(txId)).txId).toBe(txId);
    },
  );

  it(
    "is joined by a node without an index only from a checkpoint beyond the hole",
    { tags: "rest/slow" },
    async () => {
      await scene.operate(async (operator) => await operator.makeDeletable());
      const a = await scene.ready("a");
      await put(a, 0, 20, "x");
      await saveCheckpoint(a);
      await scene.operate(async (operator) => await operator.deleteMessage(10));
      const b = await scene.ready("b");
      expect(await b.digest()).toEqual(await a.digest());
      await rm(path.join(scene.folder, "checkpoints"), { recursive: true });
      const c = await scene.start("c");
      expect(await waitForFailure(c)).toMatchObject({
        code: "LOG_GAP",
        message: expect.stringContaining("message 10") as string,
      });
      await expectNoReads(c);
    },
  );
});
