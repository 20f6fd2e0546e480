// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient, type Written } from "@cairn/client";
import { connect, nanos, type NatsConnection } from "nats";
import { expect, it, onTestFinished, vi } from "vitest";
import { type CairnNode, startNode } from "../src/index.ts";
import { startNatsServer } from "@cairn/log-nats/testing";

/** The shortest time for which a log remembers ids (ms). */
const SHORT_MS = 100;
/** More transactions than those whose messages the index can tell from others. */
const LATER = 5_000;

interface ForgetfulNode {
  readonly node: CairnNode;
  /** Removes what has been written from the log, and waits until its server has forgotten the ids. */
  readonly forget: () => Promise<void>;
}

/** Stores a message unless its id is known. Returns whether it was stored. */
async function isForgotten(operator: NatsConnection): Promise<boolean> {
  return !(await operator.jetstream().publish("cairn.tx", "probe", { msgID: "probe" })).duplicate;
}

/** Starts a node on a log that remembers ids for a short time. */
async function forgetfulNode(http = {}): Promise<ForgetfulNode> {
  const nats = await startNatsServer();
  onTestFinished(() => nats.close());
  const operator = await connect({ servers: nats.url });
  const manager = await operator.jetstreamManager();
  await manager.streams.add({ name: "cairn", subjects: ["cairn.tx"], duplicate_window: nanos(SHORT_MS) });
  onTestFinished(() => operator.close());
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-repeated-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const config = {
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
    "cairn/http-server": { host: "127.0.0.1", port: 0, ...http },
  };
  const node = await startNode(config, { env: { WRITER: "only-writes-and-is-long-enough" }, cwd });
  onTestFinished(() => node.close());
  await node.ready;
  const forget = async (): Promise<void> => {
    const ops = [["put", "later", "default/a", 1]] as const;
    const sent = await Promise.all(Array.from({ length: LATER }, async () => await node.submit({ ops })));
    await Promise.all(sent.map(async (one) => await node.await(one)));
    await manager.streams.purge("cairn", { seq: Math.min(...sent.map(({ txId }) => txId)) });
    await isForgotten(operator);
    await vi.waitFor(async () => expect(await isForgotten(operator)).toBe(true), { interval: 20 });
  };
  return { node, forget };
}

it("a repetition is answered from the index, and is not stored", async () => {
  const { node } = await forgetfulNode();
  const sent = () => node.submit({ id: "x1", ops: [["put", "orders", "default/z", 1]] });
  const first = await sent();
  await node.await(first);
  expect(await sent()).toEqual({ ...first, isRepeated: true });
  expect((await node.status()).log?.lastTxId).toBe(first.txId);
});

it(
  "over HTTP, a repetition gets the first response until its message is removed",
  { tags: "rest/slow" },
  async () => {
    const { node, forget } = await forgetfulNode();
    const body = JSON.stringify({ id: "x1", ops: [["put", "orders", "default/z", 1]] });
    const post = async (): Promise<unknown> =>
      await (await fetch(`${node.url}/api/v1/tx?await=true`, { method: "POST", body })).json();
    const first = (await post()) as { readonly txId: number };
    expect(await post()).toEqual(first);
    await forget();
    const { txId } = first;
    const later = expect.toSatisfy((id: number) => id > txId) as number;
    expect(await post()).toMatchObject({ committed: true, txId: later, duplicateOf: txId });
  },
);

it("an id belongs to its first transaction, even if the log holds neither the id nor the message", async () => {
  const { node, forget } = await forgetfulNode();
  const sent = (value: number) => node.submit({ id: "x1", ops: [["put", "orders", "default/z", value]] });
  const first = await sent(1);
  await expect(sent(2)).rejects.toMatchObject({ code: "CONFLICT" });
  await forget();
  await expect(sent(2)).rejects.toMatchObject({
    code: "CONFLICT",
    message: `Transaction ${first.txId} has the same id but different content.`,
  });
  const repeated = await sent(1);
  expect(await node.await(repeated)).toMatchObject({ committed: true, duplicateOf: first.txId });
  expect((await node.get({ bucket: "orders", namespace: "default", name: "z" }))?.json).toBe("1");
});

it("a client that repeats a write that is stored again gets the id and the time of the first one", async () => {
  const { node, forget } = await forgetfulNode();
  const cairn = new CairnClient({ urls: node.url ?? "" });
  const event = { object: "default/z", reason: "Written", message: "once" };
  const writes: (() => Promise<Written>)[] = [
    () => cairn.put("orders", "z", 1, { id: "put" }),
    () => cairn.delete("orders", "z", { id: "delete" }),
    () => cairn.recordEvent(event, { id: "event" }),
  ];
  const ops = [["put", "orders", "default/y", 1]] as const;
  writes.push(() => cairn.transact({ id: "transaction", ops }));
  const firsts: Written[] = [];
  for (const write of writes) firsts.push(await write());
  await forget();
  for (const [at, write] of writes.entries()) {
    const before = cairn.lastTx;
    expect(await write()).toEqual(firsts[at]);
    expect(cairn.lastTx).toBeGreaterThan(before);
  }
});

it("a client that may not read outcomes gets the id of the first one, and the time of the repetition", async () => {
  const tokens = { writer: { env: "WRITER", rights: ["write"] } };
  const { node, forget } = await forgetfulNode({ tokens });
  const cairn = new CairnClient({ urls: node.url ?? "", token: "only-writes-and-is-long-enough" });
  const write = () => cairn.put("orders", "z", 1, { id: "put" });
  const first = await write();
  await forget();
  const repeated = await write();
  expect(repeated.txId).toBe(first.txId);
  expect(cairn.lastTx).toBeGreaterThan(first.txId);
  const document = await node.get({ bucket: "orders", namespace: "default", name: "z" });
  expect(document?.revision).toBe(repeated.txId);
  expect(repeated.txTime).toBe((await node.outcome(cairn.lastTx))?.txTime);
});
