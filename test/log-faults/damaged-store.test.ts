import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CairnNode, LogMessage } from "@cairn/node";
import { LogFold } from "@cairn/node/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  expectFoldOf,
  expectNoReads,
  failureOf,
  FaultScene,
  put,
  rebuiltFor,
  values,
  saveCheckpoint,
} from "../support/fault-scene.ts";

const MESSAGES = 200;
const FILLING = "x".repeat(100);

let scene: FaultScene;
let a: CairnNode;
beforeEach(async () => {
  scene = await FaultScene.open();
  a = await scene.ready("a");
  await put(a, 0, MESSAGES, FILLING);
});
afterEach(async () => await scene.close());

/** The server is killed, and started again after the file that it keeps the stream's messages in was changed. */
async function damaged(change: (block: Buffer) => Buffer): Promise<void> {
  await scene.nats.kill();
  const folder = path.join(scene.nats.storeDir, "jetstream", "$G", "streams", "cairn", "msgs");
  for (const name of await readdir(folder)) {
    if (!name.endsWith(".blk")) continue;
    const file = path.join(folder, name);
    await writeFile(file, change(await readFile(file)));
  }
  await scene.nats.start();
}

/** The log is shorter: a new node takes what is left, and one that knew more says so. */
async function expectCut(left: number): Promise<void> {
  const b = await scene.ready("b");
  expect((await b.status()).index.txId).toBe(left);
  await expectFoldOf(scene, b);
  expect(new Set(Object.values(await values(b)))).toEqual(new Set([FILLING]));
  const again = await scene.ready("a");
  expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
  await expectFoldOf(scene, again);
}

/** What the server has of the log, asked for one by one. */
async function stored(): Promise<LogMessage[]> {
  return await scene.operate(async (operator) => {
    const messages: LogMessage[] = [];
    for await (const message of operator.messages()) messages.push(message);
    return messages;
  });
}

function cutInHalf(block: Buffer): Buffer {
  return block.subarray(0, Math.floor(block.length / 2) + 7);
}

function flippedInTheMiddle(block: Buffer): Buffer {
  const flipped = Buffer.from(block);
  const at = block.indexOf(FILLING.slice(0, 50), Math.floor(block.length / 2));
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  return flipped;
}

describe("a log whose server's file of messages was damaged", () => {
  it("by a cut is shorter: a running node and one that was down rebuild from what is left, as it was", async () => {
    const b = await scene.ready("b");
    await b.close();
    await damaged(cutInHalf);
    await rebuiltFor(a, "LOG_REGRESSED");
    await expectFoldOf(scene, a);
    const again = await scene.ready("b");
    expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
    await expectFoldOf(scene, again);
    const left = Object.values(await values(again));
    expect(left.length).toBeGreaterThan(10);
    expect(new Set(left)).toEqual(new Set([FILLING]));
  });

  it("by one flipped bit is read up to there and no further, and no node applies the damaged message", async () => {
    const whole = await stored();
    await a.close();
    await damaged(flippedInTheMiddle);
    const { last_seq: last } = await scene.operate(async (operator) => (await operator.info()).state);
    // Newer servers look at their files when they start, and cut them before what is damaged: all that they count is there.
    if ((await stored()).length === last) return await expectCut(last);
    const b = await scene.start("b");
    expect((await failureOf(b)).code).toBe("LOG_GAP");
    await expectNoReads(b);
    const { documents } = await b.list({ bucket: "things", stale: true, limit: 1_000 });
    expect(new Set(documents.map(({ json }) => json))).toEqual(new Set([JSON.stringify(FILLING)]));
    const { index } = await b.status();
    const txId = index.txId ?? 0;
    const fold = new LogFold();
    for (const message of whole.slice(0, txId)) fold.apply(message);
    expect(fold.txId).toBe(txId);
    expect(documents).toHaveLength(txId - 1);
  });

  it("until nothing is left is not taken for a new log by a node that knows more, whoever writes to it again", async () => {
    await saveCheckpoint(a);
    await a.close();
    await damaged(() => Buffer.alloc(0));
    for (const id of ["a", "new"]) {
      const node = await scene.start(id);
      expect((await failureOf(node)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(node);
      await node.close();
    }
    // One that shares no checkpoints with them has no way to know, and begins a log.
    const stranger = await scene.ready("stranger", { checkpoints: "elsewhere" });
    await put(stranger, 0, MESSAGES + 50, "of a new log");
    const again = await scene.start("a");
    expect((await failureOf(again)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(again);
    await expectFoldOf(scene, await scene.ready("new"));
  });
});
