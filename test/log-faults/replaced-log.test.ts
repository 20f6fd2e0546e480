// @module-tag nats
import type { CairnNode } from "@cairn/node";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
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
import { startPausingProxy } from "./pausing-proxy.ts";

const REBUILD = { onLogMismatch: { different: "rebuild" } };
/**
 * A store without a checkpoint of the lost log. Such a checkpoint would halt a node, and the other node may save one at
 * any time.
 */
const ELSEWHERE = { checkpoints: "elsewhere" };

describe("a log whose server's store was replaced by an earlier copy, with other messages since", () => {
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

  it(
    "is detected by a node that was down in the meantime, which rebuilds from the log",
    { tags: "rest/slow" },
    async () => {
      await a.close();
      await scene.stopAndRestoreStore();
      await scene.nats.start();
      const b = await scene.ready("b");
      // The writes extend beyond the lost part, so that every position of the lost history has a different message.
      await put(b, 20, 40, "new");
      const again = await scene.ready("a");
      expect((await again.status()).join.movedAside).toMatchObject([{ code: "LOG_REGRESSED" }]);
      await expectFoldOf(scene, again);
      expect(Object.values(await values(again))).not.toContain("lost");
    },
  );

  it(
    "is detected by a running node, even if another node writes beyond that node's position before it reconnects",
    { tags: "rest/slow" },
    async () => {
      await scene.stopAndRestoreStore();
      await scene.nats.start();
      const b = await scene.ready("b");
      await put(b, 20, 40, "new");
      await waitForRebuild(a, "LOG_REGRESSED");
      await expectFoldOf(scene, a);
      expect(Object.values(await values(a))).not.toContain("lost");
    },
  );
});

/** Which of these a transaction meets depends on who notices the new stream first: its publisher, its reader or the node. */
const REFUSED = /^(LOG_REGRESSED|LOG_DIFFERENT|NOT_READY|LOG_UNREACHABLE)$/;

describe("a stream that was deleted", () => {
  let scene: FaultScene;
  let a: CairnNode;
  beforeEach(async () => {
    scene = await FaultScene.open();
    a = await scene.ready("a");
    await put(a, 0, 10, "old");
  });
  afterEach(async () => await scene.close());

  it("and created again by another program halts a node that was down, which leaves the stream unchanged", async () => {
    await a.close();
    const texts = Array.from({ length: 30 }, (_, n) => `foreign ${n}`);
    await scene.replaceStream(texts);
    const again = await scene.start("a");
    expect((await waitForFailure(again)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(again);
    await expect(again.submit({ ops: [["delete", "things", "default/k0"]] })).rejects.toMatchObject({
      code: "NOT_READY",
    });
    expect(await scene.operate(async (operator) => (await operator.info()).state.messages)).toBe(30);
  });

  it("and created again by another program halts a running node", async () => {
    await scene.replaceStream(["foreign"]);
    expect((await waitForFailure(a)).code).toBe("LOG_DIFFERENT");
    await expectNoReads(a);
    expect(await scene.operate(async (operator) => (await operator.info()).state.messages)).toBe(1);
  });

  it(
    "and created again by another node halts a node that was down, which joins the new log only if it is configured to",
    { tags: "rest/slow" },
    async () => {
      await a.close();
      await scene.operate(async (operator) => await operator.deleteStream());
      const b = await scene.ready("b", ELSEWHERE);
      await put(b, 0, 30, "new");
      const again = await scene.start("a");
      expect((await waitForFailure(again)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(again);
      await again.close();
      const configured = await scene.ready("a", REBUILD);
      expect((await configured.status()).join.movedAside).toMatchObject([{ code: "LOG_DIFFERENT" }]);
      await expectFoldOf(scene, configured);
    },
  );

  it(
    "and created again by another node halts a running node before it applies any message of the new log",
    { tags: "rest/slow" },
    async () => {
      await scene.operate(async (operator) => await operator.deleteStream());
      // Otherwise, it would not begin a log whose transactions the running node holds.
      const b = await scene.ready("b", { ...ELSEWHERE, ...REBUILD });
      await put(b, 0, 30, "new");
      expect((await waitForFailure(a)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(a);
      const { documents } = await a.list({ bucket: "things", stale: true });
      expect(new Set(documents.map(({ json }) => json))).toEqual(new Set(['"old"']));
    },
  );

  it("and created again and immediately written to never confirms a transaction as part of the old history", async () => {
    // The new log is short, so the index has already applied messages at all of its positions.
    await scene.replaceStream(["foreign"]);
    await expect(a.submit({ ops: [["put", "things", "default/k0", "astray"]] })).rejects.toMatchObject({
      code: expect.stringMatching(REFUSED) as string,
    });
    expect((await waitForFailure(a)).code).toBe("LOG_DIFFERENT");
  });

  it("and created again with messages beyond a node's position never accepts a transaction from that node before the node detects it", async () => {
    await scene.replaceStream(Array.from({ length: 40 }, (_, n) => `foreign ${n}`));
    // Transactions are submitted as fast as the node responds, until it has detected the new log.
    for (let n = 0; n < 200 && (await a.status()).phase !== "failed"; n += 1) {
      const ops = [["put", "things", `default/astray-${n}`, n]] as const;
      await expect(a.submit({ ops, id: `astray-${n}` })).rejects.toMatchObject({
        code: expect.stringMatching(REFUSED) as string,
      });
    }
    expect((await waitForFailure(a)).code).toBe("LOG_DIFFERENT");
  });

  it("and created again with the same messages never confirms a transaction, and the refusal recommends searching for it", async () => {
    await a.close();
    const proxy = await startPausingProxy(scene.nats.url);
    a = await scene.ready("a", { servers: [proxy.url] });
    // The server must receive the transaction before the node learns of the replacement.
    proxy.pause();
    const messages: string[] = [];
    await scene.operate(async (operator) => {
      for await (const { payload } of operator.messages()) messages.push(Buffer.from(payload).toString());
    });
    await scene.replaceStream(messages);
    const submitted = a.submit({ ops: [["put", "things", "default/found", "once"]] });
    proxy.resume();
    await expect(submitted).rejects.toMatchObject({
      code: "LOG_REGRESSED",
      hint: expect.stringContaining(
        "Then check whether the transaction exists before you send it again.",
      ) as string,
    });
    await waitForRebuild(a, "LOG_REGRESSED");
    expect((await values(a))["found"]).toBe("once");
    await expectFoldOf(scene, a);
  });

  it(
    "and not created again halts a running node, which creates no log in its place",
    { tags: "rest/slow" },
    async () => {
      await scene.operate(async (operator) => await operator.deleteStream());
      expect((await waitForFailure(a)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(a);
      await expect(scene.operate(async (operator) => await operator.info())).rejects.toThrow(
        "stream not found",
      );
    },
  );
});

describe("a wrong server address in a node's configuration", () => {
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

  it(
    "that belongs to a server without a log halts a node that has an index, and one that has only checkpoints",
    { tags: "rest/slow" },
    async () => {
      for (const id of ["a", "new"]) {
        const node = await scene.start(id, { servers: [other.url] });
        expect((await waitForFailure(node)).code).toBe("LOG_DIFFERENT");
        await expectNoReads(node);
        await node.close();
      }
      const again = await scene.ready("a");
      await expectFoldOf(scene, again);
    },
  );

  it(
    "that belongs to another cluster's server halts the node, and nothing is lost once the address is corrected",
    { tags: "rest/slow" },
    async () => {
      const stranger = await scene.ready("stranger", { servers: [other.url], ...REBUILD });
      await put(stranger, 0, 20, "of the other cluster");
      const node = await scene.start("a", { servers: [other.url] });
      expect((await waitForFailure(node)).code).toBe("LOG_DIFFERENT");
      await expectNoReads(node);
      await node.close();
      const again = await scene.ready("a");
      expect((await again.status()).join.movedAside).toEqual([]);
      await expectFoldOf(scene, again);
    },
  );
});
