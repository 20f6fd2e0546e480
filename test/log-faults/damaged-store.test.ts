// @module-tag nats
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CairnNode, LogMessage } from "@cairn/node";
import { LogFold } from "@cairn/engine/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  expectFoldOf,
  expectNoReads,
  waitForFailure,
  FaultScene,
  put,
  waitForRebuild,
  values,
  saveCheckpoint,
} from "@cairn/test-support/fault-scene";

const MESSAGES = 200;
const FILLER = "x".repeat(100);

let scene: FaultScene;
let a: CairnNode;
beforeEach(async () => {
  scene = await FaultScene.open();
  a = await scene.ready("a");
  await put(a, 0, MESSAGES, FILLER);
});
afterEach(async () => await scene.close());

/** Kills the server, changes the files that contain the stream's messages, and starts it again. */
async function damageStore(change: (block: Buffer) => Buffer): Promise<void> {
  await scene.nats.kill();
  const folder = path.join(scene.nats.storeDir, "jetstream", "$G", "streams", "cairn", "msgs");
  for (const name of await readdir(folder)) {
    if (!name.endsWith(".blk")) continue;
    const file = path.join(folder, name);
    await writeFile(file, change(await readFile(file)));
  }
  await scene.nats.start();
}

/**
 * Expects that the log is shorter: a new node accepts the remaining messages, and a node that knew more reports
 * LOG_REGRESSED.
 */
async function expectCut(left: number): Promise<void> {
  const b = await scene.ready("b");
  expect((await b.status()).index.txId).toBe(left);
  await expectFoldOf(scene, b);
  expect(new Set(Object.values(await values(b)))).toEqual(new Set([FILLER]));
  const again = await scene.ready("a");
  expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
  await expectFoldOf(scene, again);
}

/** Returns the messages that the server can still read. */
async function readableMessages(): Promise<LogMessage[]> {
  return await scene.operate(async (operator) => {
    const messages: LogMessage[] = [];
    for await (const message of operator.messages()) messages.push(message);
    return messages;
  });
}

function cutInHalf(block: Buffer): Buffer {
  return block.subarray(0, Math.floor(block.length / 2) + 7);
}

function flipBitInTheMiddle(block: Buffer): Buffer {
  const flipped = Buffer.from(block);
  const at = block.indexOf(FILLER.slice(0, 50), Math.floor(block.length / 2));
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  return flipped;
}

describe("a log whose server's message file was damaged", () => {
  it(
    "is shorter after a truncation, and a running node and one that was down both rebuild from the remaining messages",
    { tags: "rest/slow" },
    async () => {
      const b = await scene.ready("b");
      await b.close();
      await damageStore(cutInHalf);
      await waitForRebuild(a, "LOG_REGRESSED");
      await expectFoldOf(scene, a);
      const again = await scene.ready("b");
      expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
      await expectFoldOf(scene, again);
      const left = Object.values(await values(again));
      expect(left.length).toBeGreaterThan(10);
      expect(new Set(left)).toEqual(new Set([FILLER]));
    },
  );

  it(
    "is read only up to the damage after a bit was flipped, and no node applies the damaged message",
    { tags: "rest/slow" },
    async () => {
      const whole = await readableMessages();
      await a.close();
      await damageStore(flipBitInTheMiddle);
      const { last_seq: last } = await scene.operate(async (operator) => (await operator.info()).state);
      // Newer servers check their files when they start and truncate them before the damage: they can read every message that they count.
      if ((await readableMessages()).length === last) return await expectCut(last);
      const b = await scene.start("b");
      expect((await waitForFailure(b)).code).toBe("LOG_GAP");
      await expectNoReads(b);
      const { documents } = await b.list({ bucket: "things", stale: true, limit: 1_000 });
      expect(new Set(documents.map(({ json }) => json))).toEqual(new Set([JSON.stringify(FILLER)]));
      const { index } = await b.status();
      const txId = index.txId ?? 0;
      const fold = new LogFold();
      for (const message of whole.slice(0, txId)) fold.apply(message);
      expect(fold.txId).toBe(txId);
      expect(documents).toHaveLength(txId - 1);
    },
  );

  it(
    "is not mistaken for a new log if it is now empty: a node that knows more halts, even once another node has written to the log",
    { tags: "rest/slow" },
    async () => {
      await saveCheckpoint(a);
      await a.close();
      await damageStore(() => Buffer.alloc(0));
      for (const id of ["a", "new"]) {
        const node = await scene.start(id);
        expect((await waitForFailure(node)).code).toBe("LOG_DIFFERENT");
        await expectNoReads(node);
        await node.close();
      }
      // A node without access to the checkpoints of these nodes cannot know that there was a log, and begins a new one.
      const stranger = await scene.ready("stranger", { checkpoints: "elsewhere" });
      await put(stranger, 0, MESSAGES + 50, "of a new log");
      const again = await scene.start("a");
      expect((await waitForFailure(again)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(again);
      await expectFoldOf(scene, await scene.ready("new"));
    },
  );
});
