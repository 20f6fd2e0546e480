import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { CairnClient } from "@cairn/client";
import type { CairnNode } from "@cairn/engine";
import { startNode } from "@cairn/node";
import { startStallingProxy } from "@cairn/test-support/links/stalling-proxy";
import { serve } from "@cairn/test-support/nodes/served-node";

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-late-"));
  node = await startNode({
    "cairn/node": { id: "n", dir: folder },
    "cairn/http-server": { host: "127.0.0.1", port: 0 },
  });
  await node.ready;
  await node.client().put("pods", "known", 1);
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

const CALLS: Readonly<Record<string, (client: CairnClient) => Promise<unknown>>> = {
  get: async (client) => (await client.get("pods", "known"))?.document,
  put: async (client) => (await client.put("pods", "late", 1)).txId,
  watch: async (client) => (await client.watch({ from: "0" }).next()).value?.changes.length,
  follow: async (client) => (await client.follow({ bucket: "pods" }).next()).value?.changes.length,
};

it.each(Object.keys(CALLS))("a %s that does not reach a node in time goes to the next one", async (call) => {
  await using slow = await serve({ requestTimeoutMs: 100 });
  const stalling = await startStallingProxy(slow.url, 0);
  onTestFinished(() => stalling.close());
  // Without repetitions, the next node is still tried once.
  const client = new CairnClient({ urls: [stalling.url, node?.url ?? ""], retryForMs: 0 });
  expect(await CALLS[call]?.(client)).toBeGreaterThan(0);
  expect(slow.node.submitted).toEqual([]);
  const alone = new CairnClient({ urls: stalling.url, retryForMs: 0 });
  await expect(alone.status()).rejects.toMatchObject({ code: "REQUEST_INVALID", status: 408 });
});
