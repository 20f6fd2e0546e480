// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { connect, RetentionPolicy, type StreamConfig } from "nats";
import { expect, it, onTestFinished, vi } from "vitest";
import { type CairnNode, startNode } from "../src/index.ts";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";

/** Starts a server with a stream of these settings, and a node whose log is on it. */
async function nodeOn(settings: Partial<StreamConfig>): Promise<CairnNode> {
  const nats = await startNatsServer();
  onTestFinished(() => nats.close());
  await asOperator(nats, async (manager) => {
    await manager.streams.add({ name: "origin", subjects: ["origin"] });
    await manager.streams.add({ name: "cairn", subjects: ["cairn.tx"], ...settings });
  });
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-unusable-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const node = await startNode(
    {
      "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: [nats.url] },
      "cairn/http-server": { port: 0 },
    },
    { env: {}, cwd },
  );
  onTestFinished(() => node.close());
  return node;
}

async function asOperator(
  nats: NatsTestServer,
  act: (
    manager: Awaited<ReturnType<Awaited<ReturnType<typeof connect>>["jetstreamManager"]>>,
  ) => Promise<void>,
): Promise<void> {
  const client = await connect({ servers: nats.url });
  try {
    await act(await client.jetstreamManager());
  } finally {
    await client.close();
  }
}

it.each([
  ["work queue", { retention: RetentionPolicy.Workqueue }],
  ["interest", { retention: RetentionPolicy.Interest }],
  ["mirror", { subjects: [], mirror: { name: "origin" } }],
  ["no acknowledgements", { no_ack: true }],
  // A stream that does not accept the log's messages can still be read.
  ["another subject", { subjects: ["elsewhere.a", "elsewhere.b"] }],
])("a node on a stream that cannot be a log reports that everywhere: %s", async (_, settings) => {
  const node = await nodeOn(settings);
  node.ready.catch(() => undefined);
  await vi.waitFor(() => expect(node.phase).toBe("failed"));
  const status = await fetch(`${node.url}/status`);
  expect(status.status).toBe(200);
  expect(await status.json()).toMatchObject({
    phase: "failed",
    log: { reachable: true, lastTxId: null },
    failure: { code: "CONFIG_INVALID", hint: expect.any(String), retries: false, nextTryAt: null },
  });
  const ready = await fetch(`${node.url}/health/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.json()).toMatchObject({ phase: "failed", failure: { code: "CONFIG_INVALID" } });
  expect((await fetch(`${node.url}/health/live`)).status).toBe(200);
});
