// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClient, type Written } from "@cairn/client";
import { connect, nanos } from "nats";
import { expect, it, onTestFinished, vi } from "vitest";
import { type CairnNode, startNode } from "../src/index.ts";
import { startNatsServer } from "@cairn/log-nats/testing";

/** The time for which a log remembers ids (ms), if nothing has to happen within it. */
const SHORT_MS = 300;

/** Starts a node whose log remembers ids for a short time only. */
async function forgetfulNode({ http = {}, forMs = SHORT_MS } = {}): Promise<CairnNode> {
  const nats = await startNatsServer();
  onTestFinished(() => nats.close());
  const operator = await connect({ servers: nats.url });
  const manager = await operator.jetstreamManager();
  await manager.streams.add({ name: "cairn", subjects: ["cairn.tx"], duplicate_window: nanos(forMs) });
  await operator.close();
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-repeated-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const config = {
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
    "cairn/http-server": { host: "127.0.0.1", port: 0, ...http },
  };
  const node = await startNode(config, { env: { WRITER: "only-writes-and-is-long-enough" }, cwd });
  onTestFinished(() => node.close());
  await node.ready;
  return node;
}

/** Repeats a write until the log stores it again, because it has forgotten the id. */
async function repeatedOnceForgotten(cairn: CairnClient, write: () => Promise<Written>) {
  const first = await write();
  const repeated = await vi.waitFor(
    async () => {
      const written = await write();
      expect(cairn.lastTx).toBeGreaterThan(first.txId);
      return written;
    },
    { interval: 50 },
  );
  return { first, repeated };
}

it("an id belongs to its first transaction, even if the log has forgotten that one and remembers another", async () => {
  // The second transaction is sent before the log forgets the id.
  const node = await forgetfulNode({ forMs: 1_500 });
  const sent = (value: number) => node.submit({ id: "x1", ops: [["put", "orders", "default/z", value]] });
  const first = await sent(1);
  await expect(sent(2)).rejects.toMatchObject({ code: "CONFLICT" });
  // Once the log has forgotten the id, it stores the other transaction, which the index refuses.
  const other = await vi.waitFor(() => sent(2), { timeout: 10_000, interval: 50 });
  expect(await node.await(other)).toMatchObject({
    committed: false,
    reason: `CONFLICT: transaction ${first.txId} has the same id and another content`,
  });
  const repeated = await sent(1);
  expect(await node.await(repeated)).toMatchObject({ committed: true, duplicateOf: first.txId });
  await expect(sent(3)).rejects.toMatchObject({
    code: "CONFLICT",
    message: `Transaction ${first.txId} has the same id but different content.`,
  });
  expect((await node.get({ bucket: "orders", namespace: "default", name: "z" }))?.json).toBe("1");
});

it("a client that repeats a write after the log has forgotten its id gets the id and the time of the first one", async () => {
  const node = await forgetfulNode();
  const cairn = new CairnClient({ urls: node.url ?? "" });
  const event = { object: "default/z", reason: "Written", message: "once" };
  const writes = [
    () => cairn.put("orders", "z", 1, { id: "put" }),
    () => cairn.delete("orders", "z", { id: "delete" }),
    () => cairn.recordEvent(event, { id: "event" }),
  ];
  for (const write of writes) {
    const { first, repeated } = await repeatedOnceForgotten(cairn, write);
    expect(repeated).toEqual(first);
  }
});

it("a client that may not read outcomes gets the id of the first one, and the time of the repetition", async () => {
  const node = await forgetfulNode({ http: { tokens: { writer: { env: "WRITER", rights: ["write"] } } } });
  const cairn = new CairnClient({ urls: node.url ?? "", token: "only-writes-and-is-long-enough" });
  const { first, repeated } = await repeatedOnceForgotten(cairn, () =>
    cairn.put("orders", "z", 1, { id: "put" }),
  );
  expect(repeated.txId).toBe(first.txId);
  const document = await node.get({ bucket: "orders", namespace: "default", name: "z" });
  expect(document?.revision).toBe(repeated.txId);
  expect(repeated.txTime).toBe((await node.outcome(cairn.lastTx))?.txTime);
});
