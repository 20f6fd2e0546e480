import type { CairnNode } from "@cairn/node";
import { type NatsTestServer, startNatsServer } from "@cairn/node/testing";
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

const REBUILD = { onLogMismatch: { different: "rebuild" } };

describe("a log whose server's store was put back to an earlier copy, with other messages since", () => {
  let scene: FaultScene;
  let a: CairnNode;
  beforeEach(async () => {
    scene = await FaultScene.open();
    a = await scene.ready("a");
    await put(a, 0, 10, "kept");
    await scene.copyStore();
    await put(a, 10, 20, "lost");
  });
  afterEach(async () => await scene.close());

  it("is noticed by a node that was down meanwhile, which rebuilds from what the log has", async () => {
    await a.close();
    await scene.rollBackStopped();
    await scene.nats.start();
    const b = await scene.ready("b");
    // Past what was lost, so that every sequence of the lost history is taken by another message.
    await put(b, 20, 40, "new");
    const again = await scene.ready("a");
    expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
    await expectFoldOf(scene, again);
    expect(Object.values(await values(again))).not.toContain("lost");
  });

  it("is noticed by a node that is running, though others write beyond its position before it is back", async () => {
    await scene.rollBackStopped();
    await scene.nats.start();
    const b = await scene.ready("b");
    await put(b, 20, 40, "new");
    await rebuiltFor(a, "LOG_REGRESSED");
    await expectFoldOf(scene, a);
    expect(Object.values(await values(a))).not.toContain("lost");
  });
});

describe("a stream that was deleted and made again", () => {
  let scene: FaultScene;
  let a: CairnNode;
  beforeEach(async () => {
    scene = await FaultScene.open();
    a = await scene.ready("a");
    await put(a, 0, 10, "old");
  });
  afterEach(async () => await scene.close());

  it("by another program halts a node that was down, and the stream is left as it is", async () => {
    await a.close();
    const texts = Array.from({ length: 30 }, (_, n) => `foreign ${n}`);
    await scene.operate(async (operator) => {
      await operator.deleteStream();
      await operator.makeForeignStream(texts);
    });
    const again = await scene.start("a");
    expect((await failureOf(again)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(again);
    await expect(again.submit({ ops: [["delete", "things", "default/k0"]] })).rejects.toMatchObject({
      code: "NOT_READY",
    });
    expect(await scene.operate(async (operator) => (await operator.info()).state.messages)).toBe(30);
  });

  it("by another program halts a node that is running", async () => {
    await scene.operate(async (operator) => {
      await operator.deleteStream();
      await operator.makeForeignStream(["foreign"]);
    });
    expect((await failureOf(a)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(a);
    expect(await scene.operate(async (operator) => (await operator.info()).state.messages)).toBe(1);
  });

  it("by another node of Cairn halts one that was down; it begins with the new log where that is configured", async () => {
    await a.close();
    await scene.operate(async (operator) => await operator.deleteStream());
    const b = await scene.ready("b");
    await put(b, 0, 30, "new");
    const again = await scene.start("a");
    expect((await failureOf(again)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(again);
    await again.close();
    const willing = await scene.ready("a", REBUILD);
    expect((await willing.status()).join.movedAside).toMatchObject([{ code: "LOG_DIFFERENT" }]);
    await expectFoldOf(scene, willing);
  });

  it("by another node of Cairn halts one that is running before it has read one message of the new log", async () => {
    await scene.operate(async (operator) => await operator.deleteStream());
    const b = await scene.ready("b");
    await put(b, 0, 30, "new");
    expect((await failureOf(a)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(a);
    const { documents } = await a.list({ bucket: "things", stale: true });
    expect(new Set(documents.map(({ json }) => json))).toEqual(new Set(['"old"']));
  });

  it("and written to at once never confirms a transaction as one of the history that it was not added to", async () => {
    // The new log is short, so that its positions are ones that the index has already.
    await scene.operate(async (operator) => {
      await operator.deleteStream();
      await operator.makeForeignStream(["foreign"]);
    });
    await expect(a.submit({ ops: [["put", "things", "default/k0", "astray"]] })).rejects.toMatchObject({
      code: expect.stringMatching(/^(LOG_REGRESSED|NOT_READY)$/) as string,
    });
    expect((await failureOf(a)).code).toBe("LOG_DIFFERENT");
  });

  it("and written beyond its position at once never takes a transaction of a node that has not noticed yet", async () => {
    await scene.operate(async (operator) => {
      await operator.deleteStream();
      await operator.makeForeignStream(Array.from({ length: 40 }, (_, n) => `foreign ${n}`));
    });
    // As fast as it answers, until it has noticed.
    for (let n = 0; n < 200 && (await a.status()).phase !== "failed"; n += 1) {
      const ops = [["put", "things", `default/astray-${n}`, n]] as const;
      await expect(a.submit({ ops, id: `astray-${n}` })).rejects.toMatchObject({
        code: expect.stringMatching(/^(LOG_REGRESSED|LOG_DIFFERENT|NOT_READY|LOG_UNREACHABLE)$/) as string,
      });
    }
    expect((await failureOf(a)).code).toBe("LOG_DIFFERENT");
  });

  it("and filled with the same messages never confirms a transaction, which the refusal says how to find", async () => {
    await scene.operate(async (operator) => {
      const messages: string[] = [];
      for await (const { payload } of operator.messages()) messages.push(Buffer.from(payload).toString());
      await operator.deleteStream();
      await operator.makeForeignStream(messages);
    });
    await expect(a.submit({ ops: [["put", "things", "default/found", "once"]] })).rejects.toMatchObject({
      code: "LOG_REGRESSED",
      hint: expect.stringContaining(
        "Once it is ready, check whether the transaction is there before you send it again.",
      ) as string,
    });
    await rebuiltFor(a, "LOG_REGRESSED");
    expect((await values(a))["found"]).toBe("once");
    await expectFoldOf(scene, a);
  });

  it("and left deleted keeps a running node from answering reads as right, and makes no log in its place", async () => {
    await scene.operate(async (operator) => await operator.deleteStream());
    expect((await failureOf(a)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(a);
    await expect(scene.operate(async (operator) => await operator.info())).rejects.toThrow(
      "stream not found",
    );
  });
});

describe("a wrong server address", () => {
  let scene: FaultScene;
  let other: NatsTestServer;
  beforeEach(async () => {
    scene = await FaultScene.open();
    other = await startNatsServer();
    const a = await scene.ready("a");
    await put(a, 0, 5, "right");
    await saveCheckpoint(a);
    await a.close();
  });
  afterEach(async () => {
    await scene.close();
    await other.close();
  });

  it("of a server without a log does not look like an empty cluster, nor to a node that has only checkpoints", async () => {
    for (const id of ["a", "new"]) {
      const node = await scene.start(id, { servers: [other.url] });
      expect((await failureOf(node)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(node);
      await node.close();
    }
    const again = await scene.ready("a");
    await expectFoldOf(scene, again);
  });

  it("of another cluster's server is another log, and nothing is lost when the address is put right", async () => {
    const stranger = await scene.ready("stranger", { servers: [other.url], ...REBUILD });
    await put(stranger, 0, 20, "of the other cluster");
    const node = await scene.start("a", { servers: [other.url] });
    expect((await failureOf(node)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(node);
    await node.close();
    const again = await scene.ready("a");
    expect((await again.status()).join.movedAside).toEqual([]);
    await expectFoldOf(scene, again);
  });
});
