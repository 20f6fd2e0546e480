// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { formatStatus } from "@cairn/cli/src/node/status-screen";
import { startNode } from "../src/start-node.ts";
import type { CairnNode } from "@cairn/engine";
import { encodeBirthRecord } from "@cairn/engine/src/transactions/transaction-codec";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { NatsOperator, startNatsServer } from "@cairn/log-nats/testing";

const NOWHERE = "http://127.0.0.1:9";

async function nodeWith(config: object): Promise<CairnNode> {
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-unknown-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const node = await startNode(
    { "cairn/node": { id: "n" }, "cairn/http-server": null, ...config },
    { env: {}, cwd },
  );
  onTestFinished(() => node.close());
  node.ready.catch(() => undefined);
  return node;
}

/** Returns the lines of `cairn status` about the log, the index and the join, and the log's gauge. */
async function told(node: CairnNode): Promise<{ lines: string; gauge: string | undefined }> {
  const screen = formatStatus(await node.status(), { now: Date.now(), colors: false });
  const lines = screen.split("\n").filter((line) => /^(Log|Index|Documents|Joined|Checkpoint) /.test(line));
  const [gauge] = /^cairn_log_reachable \d$/m.exec(await node.metrics()) ?? [];
  return { lines: lines.map((line) => line.replace(/ +/, " ")).join("\n"), gauge };
}

async function failsWith(node: CairnNode, code: string): Promise<void> {
  const failure = async () => (await node.status()).failure?.code;
  await vi.waitFor(async () => expect(await failure()).toBe(code), { timeout: 30_000 });
}

const BEFORE_IT_JOINED = `Index not open
Documents unknown until the index is open
Joined not yet
Checkpoint unknown until the node is ready`;

it("the status reports the log as reachable while joining waits for the store, and reports nothing about an index that is not open", async () => {
  const credentials = { "access-key-id": "a", "secret-access-key": "b" };
  const store = {
    "cairn/module": "cairn.s3/->checkpoint-store",
    bucket: "nowhere",
    endpoint: NOWHERE,
    "max-attempts": 1,
    credentials,
  };
  const checkpointer = { "approx-frequency": "PT1H", store };
  const node = await nodeWith({ "cairn/index-store": { "kv-store": { checkpointer } } });
  await failsWith(node, "STORE_UNREACHABLE");
  expect(await told(node)).toEqual({
    lines: expect.stringMatching(
      new RegExp(`^Log n-log, not begun yet \\(/\\S+/n-log\\)\n${BEFORE_IT_JOINED}$`),
    ),
    gauge: "cairn_log_reachable 1",
  });
  expect((await node.status()).index).toMatchObject({ txId: null, documents: null, bytes: null });
});

it("the status reports a log whose server was never reachable as unreachable, with its name", async () => {
  const log = {
    "cairn/module": "cairn.nats/->tx-log",
    servers: [NOWHERE.replace("http", "nats")],
    stream: "orders",
  };
  const node = await nodeWith({ "cairn/tx-log": log });
  await failsWith(node, "LOG_UNREACHABLE");
  expect(await told(node)).toEqual({
    lines: `Log orders, unreachable\n${BEFORE_IT_JOINED}`,
    gauge: "cairn_log_reachable 0",
  });
});

it("the status does not report whether there is a checkpoint before the node has looked at its store", async () => {
  const node = await nodeWith({});
  await node.ready;
  expect((await told(node)).lines).toContain("Checkpoint unknown until the node has looked at the store");
  expect((await node.status()).checkpoints).toMatchObject({ last: null, lastCheckAt: null });
  await node.checkpoint().done;
  expect((await told(node)).lines).toContain("Checkpoint none yet");
  expect((await node.status()).checkpoints.lastCheckAt).toMatch(/^20.*Z$/);
});

it(
  "the status distinguishes a deleted log from an unreachable one, and gives the reason",
  { tags: "rest/slow" },
  async () => {
    const nats = await startNatsServer();
    onTestFinished(() => nats.close());
    const node = await nodeWith({
      "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
    });
    await node.ready;
    await node.await((await node.submit({ ops: [["put", "pods", "default/a", 1]] })).txId);
    await NatsOperator.at(nats.url, async (operator) => await operator.deleteStream());
    await failsWith(node, "LOG_DIFFERENT");
    const { lines, gauge } = await told(node);
    expect([lines, gauge]).toEqual([
      expect.stringMatching(
        /^Log cairn \(id [0-9a-f-]{36}\), no longer exists \(127\.0\.0\.1:\d+\)\nIndex transaction 2 /,
      ),
      "cairn_log_reachable 1",
    ]);
    await nats.kill();
    await vi.waitFor(async () => expect((await told(node)).gauge).toBe("cairn_log_reachable 0"), {
      timeout: 10_000,
    });
    expect((await node.status()).log.warnings).toMatchObject([
      { code: "LOG_UNREACHABLE", message: expect.stringContaining("is down"), hint: expect.any(String) },
    ]);
  },
);

it("the status reports no transactions of a log that the node has not read, which may continue another one", async () => {
  const nats = await startNatsServer();
  onTestFinished(() => nats.close());
  const continues = { log: "earlier", anchor: { txId: 96, sha256: "0".repeat(64) } };
  const log = await openNatsTxLog({ servers: [nats.url] });
  await log.create((id) => encodeBirthRecord({ log: id, offset: 96, continues }));
  await log.close();
  const node = await nodeWith({
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
  });
  await failsWith(node, "LOG_TRIMMED");
  expect((await told(node)).lines).toMatch(/^Log cairn, not read yet \(/);
  expect((await node.status()).log).toMatchObject({
    id: null,
    firstTxId: null,
    lastTxId: null,
    exists: true,
  });
});
