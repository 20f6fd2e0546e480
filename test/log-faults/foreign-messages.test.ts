// @module-tag nats
import type { CairnNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LogFold } from "@cairn/engine/testing";
import { FaultScene, put, values } from "@cairn/test-support/fault-scene";
import { framed } from "@cairn/test-support/framed-message";

const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
const puts = (document: string): string => `{"ops":[["put","things","default/bad"]]}\n${document}`;

/** Messages that nodes must reject. Each name completes "a message that …". */
const MESSAGES: readonly [string, (logId: string) => Uint8Array][] = [
  ["begins another log", (logId) => framed(logId, '{"birth":{"log":"11111111-2222","offset":0}}')],
  ["begins this log again", (logId) => framed(logId, JSON.stringify({ birth: { log: logId, offset: 7 } }))],
  ["belongs to another log", () => framed("another log", puts("1"))],
  [
    "has thousands of nested lists as an operation's name",
    (logId) => framed(logId, `{"ops":[[${nested(4_500)}]]}`),
  ],
  ["has a document that is not JSON", (logId) => framed(logId, puts("not json"))],
  ["has an empty document", (logId) => framed(logId, puts(""))],
  [
    "has a document that is not UTF-8",
    (logId) => framed(logId, Buffer.concat([Buffer.from(puts('"')), Buffer.from([0xff, 0x22])])),
  ],
  [
    "has a lone high surrogate as its id",
    (logId) => framed(logId, '{"ops":[["delete","things","default/k0"]],"id":"\\ud800"}'),
  ],
  [
    "has another lone high surrogate as its id",
    (logId) => framed(logId, '{"ops":[["delete","things","default/k0"]],"id":"\\ud801"}'),
  ],
  [
    "writes a key twice",
    (logId) => framed(logId, '{"ops":[["put","things","default/k0"],["delete","things","k0"]]}\n1'),
  ],
  ["is arbitrary text", () => Buffer.from("hello")],
];

describe("a message that another program published to the log", () => {
  let scene: FaultScene;
  let nodes: CairnNode[];
  let logId = "";
  beforeEach(async () => {
    scene = await FaultScene.open();
    nodes = [await scene.ready("a"), await scene.ready("b")];
    logId = (await nodes[0]?.status())?.log.id ?? "";
    for (const node of nodes.slice(0, 1)) await put(node, 0, 3, "kept");
  });
  afterEach(async () => await scene.close());

  it("changes nothing and stops no node: nodes agree, whether they apply it alone, in batches or from the beginning", async () => {
    const [a, b] = nodes as [CairnNode, CairnNode];
    const refused: number[] = [];
    await scene.operate(async (operator) => {
      for (const [, message] of MESSAGES) {
        const txId = await operator.publish(message(logId));
        refused.push(txId);
        await a.await(txId).catch(() => {});
      }
    });
    const last = await put(a, 3, 4, "after it");
    await b.await(last);
    for (const [index, txId] of refused.entries()) {
      const outcome = await b.outcome(txId);
      expect([MESSAGES[index]?.[0], outcome?.committed]).toEqual([MESSAGES[index]?.[0], false]);
      expect(outcome?.reason).toMatch(/^TX_INVALID: /);
    }
    const joined = await scene.ready("joined");
    const fold = await scene.operate(async (operator) => {
      const known = new LogFold();
      // The oracle understands only messages from nodes, so rejected messages are replaced by unreadable ones.
      for await (const message of operator.messages()) {
        known.apply(refused.includes(message.position) ? { ...message, payload: Buffer.from("?") } : message);
      }
      return known;
    });
    for (const node of [a, b, joined]) {
      expect((await node.status()).join.movedAside).toEqual([]);
      expect(await node.digest()).toEqual({ txId: fold.txId, digest: fold.digest() });
      expect(await values(node)).toEqual({ k0: "kept", k1: "kept", k2: "kept", k3: "after it" });
    }
  });

  it.each<[string, (log: string, body: string) => Uint8Array]>([
    ["the same transaction of another log", (_, body) => framed("another log", body)],
    [
      "the same transaction with a wrong checksum",
      (log, body) => Buffer.from(framed(log, body)).fill("0", 8, 16),
    ],
    [
      "another transaction without an id",
      (log) => framed(log, '{"ops":[["delete","things","default/none"]]}'),
    ],
    ["arbitrary text", () => Buffer.from("garbage")],
  ])(
    "does not suppress the transaction whose id it uses if it contains %s",
    { tags: "rest/slow" },
    async (_, message) => {
      const [a] = nodes as [CairnNode];
      const ops = [["put", "things", "default/wanted", 1]] as const;
      const body = '{"ops":[["put","things","default/wanted"]],"id":"mine"}\n1';
      await scene.operate(async (operator) => await operator.publish(message(logId, body), "mine"));
      const { txId } = await a.submit({ ops, id: "mine" });
      expect(await a.await(txId)).toMatchObject({ committed: true });
      expect(await values(a)).toMatchObject({ wanted: 1 });
      // The transaction is applied once, however often it is sent.
      const again = await a.submit({ ops, id: "mine" });
      expect(await a.await(again.txId)).toMatchObject({ committed: true });
      expect(
        (await a.history({ bucket: "things", namespace: "default", name: "wanted" })).versions,
      ).toHaveLength(1);
    },
  );
});
