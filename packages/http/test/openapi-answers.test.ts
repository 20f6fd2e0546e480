import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { connect } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { CairnError } from "@cairn/kv";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";
import { savingConfig } from "@cairn/test-support/stores/saving-config";
import { DescribedNode, example, operations, validator } from "./described-node.ts";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve } from "@cairn/test-support/nodes/served-node";

let folder = "";
let node: CairnNode;
let described: DescribedNode;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-openapi-"));
  const config = savingConfig(folder, "n1", { port: 0, "max-body": 5_000 });
  node = await startNode(config, { env: {}, cwd: folder });
  await node.ready;
  described = new DescribedNode(node.url ?? "");
});
afterAll(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

const json = (value: unknown): string => JSON.stringify(value);

// The last test checks that those before it covered everything.
describe("a node responds as its OpenAPI document describes", { shuffle: false }, () => {
  it("to its own operations", async () => {
    for (const id of [
      "getLive",
      "getReady",
      "getStatus",
      "getCluster",
      "getMetrics",
      "getOpenApi",
      "getDigest",
    ])
      await described.answerOf(id, 200);
    await described.answerOf("getStatus", 400, { at: "/status?x=1" });
    await described.answerOf("getCluster", 400, { at: "/status/cluster?timeout=soon" });
    await described.answerOf("getStatus", 403, { headers: { host: "elsewhere.example" } });
    await described.answerOf("getDigest", 504, { at: "/api/v1/digest?min-tx=999999&timeout=PT0.01S" });
  });

  it("to transactions", async () => {
    const ops = [
      ["put", "pods", "a", { n: 1 }],
      ["put", "pods", "b", 2],
      ["evict", "pods", "c"],
    ];
    await described.answerOf("submitTransaction", 200, {
      at: "/api/v1/tx?await=true",
      body: json({ ops, id: "1" }),
    });
    await described.answerOf("submitTransaction", 202, { body: json({ ops, id: "1" }) });
    await described.answerOf("submitTransaction", 409, {
      body: json({ ops: [["delete", "pods", "a"]], id: "1" }),
    });
    const lost = { ops: [["match", "pods", "a", 99]] };
    const { txId } = (await described.answerOf("submitTransaction", 200, {
      at: "/api/v1/tx?await=true",
      body: json(lost),
    })) as { txId: number };
    await described.answerOf("submitTransaction", 400, { body: "{" });
    await described.answerOf("submitTransaction", 413, { body: json({ ops: ["x".repeat(5_000)] }) });
    await described.answerOf("submitTransaction", 415, {
      body: "<a/>",
      headers: { "content-type": "text/xml" },
    });
    await described.answerOf("getTransaction", 200, { at: `/api/v1/tx/${txId}` });
    await described.answerOf("getTransaction", 404, { at: "/api/v1/tx/999999" });
    await described.answerOf("getTransaction", 504, { at: "/api/v1/tx/999999?timeout=PT0.01S" });
    const headers = { "content-type": "application/x-ndjson" };
    const lines = `${json({ ops })}\n${json(lost)}\n`;
    await described.answerOf("submitBatch", 200, { at: "/api/v1/tx/batch?await=true", body: lines, headers });
    await described.answerOf("submitBatch", 202, { body: "", headers });
    await described.answerOf("submitBatch", 400, { body: `${lines}{`, headers });
    await described.answerOf("submitBatch", 413, { body: `${lines}${"x".repeat(20_000)}`, headers });
    await described.answerOf("submitBatch", 415, { body: "{}" });
    await described.answerOf("listEvictions", 200);
    await described.answerOf("listEvictions", 200, { at: "/api/v1/tx/evictions?limit=1" });
    await described.answerOf("listEvictions", 400, { at: "/api/v1/tx/evictions?cursor=x" });
  });

  it.each([
    ["", "/api/v1/buckets/services/document?key=web/a%2F.."],
    ["Default", "/api/v1/services/a"],
    ["", "/api/v1/services/web/a"],
  ])("to requests for documents (%s %s)", async (inDefault, at) => {
    const id = (method: string): string => {
      if (at.includes("key=")) return `${method}DocumentByKey`;
      return `${method}${inDefault}Document`;
    };
    const also = at.includes("?") ? "&" : "?";
    await described.answerOf(id("get"), 404, { at });
    await described.answerOf(id("get"), 404, { at: `${at}${also}stale=true` });
    await described.answerOf(id("put"), 201, { at, body: "1" });
    await described.answerOf(id("put"), 200, { at, body: "2" });
    await described.answerOf(id("put"), 202, { at: `${at}${also}await=false`, body: "3" });
    await described.answerOf(id("put"), 412, { at, body: "4", headers: { "if-match": '"1"' } });
    await described.answerOf(id("put"), 400, { at, body: "9007199254740993" });
    await described.answerOf(id("put"), 415, { at, body: "1", headers: { "content-type": "text/html" } });
    await described.answerOf(id("get"), 200, { at });
    await described.answerOf(id("get"), 200, { at: `${at}${also}stale=true` });
    await described.answerOf(id("get"), 200, { at: `${at}${also}history=true&limit=1` });
    await described.answerOf(id("get"), 304, {
      at: `${at}${also}stale=true`,
      headers: { "if-none-match": "*" },
    });
    await described.answerOf(id("get"), 412, { at, headers: { "if-match": '"1"' } });
    for (const tag of ['"1"', "no tag"]) {
      const headers = { "if-match": tag };
      await described.answerOf(id("get"), tag === '"1"' ? 412 : 400, {
        at: `${at}${also}stale=true`,
        headers,
      });
    }
    await described.answerOf(id("get"), 400, { at: `${at}${also}as-of=yesterday` });
    await described.answerOf(id("get"), 504, { at: `${at}${also}min-tx=999999&timeout=0` });
    await described.answerOf(id("delete"), 200, { at });
    await described.answerOf(id("delete"), 202, { at: `${at}${also}await=false` });
    await described.answerOf(id("delete"), 412, { at, headers: { "if-match": '"1"' } });
  });

  it("to requests for lists and history", async () => {
    await described.answerOf("listDocuments", 200, { at: "/api/v1/pods?limit=1" });
    await described.answerOf("listDocuments", 400, { at: "/api/v1/pods?where=a:b" });
    await described.answerOf("listDocuments", 404, { at: "/api/v1/digest/" });
    await described.answerOf("listBuckets", 200);
    await described.answerOf("watch", 200);
    await described.answerOf("follow", 200);
    await described.answerOf("watch", 400, { at: "/api/v1/watch?bucket=UPPER" });
    await described.answerOf("watch", 410, { at: "/api/v1/watch?from=2-000000000000" });
  });

  it("to requests for events and policies", async () => {
    const event = { object: "pod/a", reason: "Scheduled", message: "m", bucket: "pods", type: "Normal" };
    await described.answerOf("recordEvent", 201, { body: json(event) });
    await described.answerOf("recordEvent", 201, { body: json({ ...event, source: "s", time: "17" }) });
    await described.answerOf("recordEvent", 202, { at: "/api/v1/events?await=false", body: json(event) });
    await described.answerOf("recordEvent", 400, { body: json({ object: "a" }) });
    await described.answerOf("listEvents", 200, { at: "/api/v1/events?limit=2" });
    await described.answerOf("listEvents", 400, { at: "/api/v1/events?before=x" });
    await described.answerOf("getPolicies", 200);
    const policies = {
      indexes: { pods: ["n"], gone: ["x"] },
      expire: { gone: { when: { x: 1 }, after: "PT1H" } },
      history: { pods: { keep: 1 } },
      events: { keep: 100, for: "P1D" },
      queues: {
        jobs: { shards: 2, cap: 9, terminal: { state: ["done"] }, lease: "PT30S" },
        idle: { shards: 2, cap: 9, terminal: { state: ["done"] }, lease: "PT30S" },
      },
    };
    await described.answerOf("putPolicies", 202, { at: "/api/v1/policies?await=false", body: json({}) });
    await described.answerOf("putPolicies", 200, { body: json(policies) });
    await described.answerOf("putPolicies", 400, { body: json({ index: {} }) });
    await described.answerOf("putPolicies", 412, { body: json({}), headers: { "if-match": '"1"' } });
    await described.answerOf("getPolicies", 200);
    await described.answerOf("listBuckets", 200);
  });

  it("to requests for queues", async () => {
    const entries = "/api/v1/queues/jobs/entries";
    await described.answerOf("enqueue", 201, { at: entries, body: json({ name: "a", document: 1 }) });
    await described.answerOf("enqueue", 202, { at: `${entries}?await=false`, body: json({ document: {} }) });
    await described.answerOf("enqueue", 409, { at: entries, body: json({ name: "a", document: 1 }) });
    await described.answerOf("enqueue", 400, { at: entries, body: json({ name: "a" }) });
    const shard = "/api/v1/queues/jobs/shards/0";
    const as = json({ as: "me" });
    await described.answerOf("claimShard", 202, { at: `${shard}/claim?await=false`, body: as });
    await described.answerOf("drainShard", 200, { at: `${shard}/drain`, body: as });
    await described.answerOf("claimShard", 409, { at: `${shard}/claim`, body: as });
    await described.answerOf("renewShard", 400, { at: `${shard}/renew`, body: as });
    await described.answerOf("claimShard", 404, { at: "/api/v1/queues/none/shards/0/claim", body: as });
    const idle = "/api/v1/queues/idle/shards/1";
    const claim = await described.answerOf("claimShard", 200, { at: `${idle}/claim`, body: as });
    const claimed = json({ epoch: (claim as { epoch: number }).epoch, as: "me" });
    await described.answerOf("renewShard", 200, { at: `${idle}/renew`, body: claimed });
    await described.answerOf("renewShard", 202, { at: `${idle}/renew?await=false`, body: claimed });
    await described.answerOf("releaseShard", 200, { at: `${idle}/release`, body: claimed });
    await described.answerOf("releaseShard", 202, { at: `${idle}/release?await=false`, body: claimed });
    const drain = await described.answerOf("drainShard", 200, { at: `${idle}/drain`, body: as });
    await described.answerOf("drainShard", 202, { at: `${idle}/drain?await=false`, body: as });
    const drained = json({ epoch: (drain as { epoch: number }).epoch });
    await described.answerOf("retireShard", 200, { at: `${idle}/retire`, body: drained });
    await described.answerOf("retireShard", 202, { at: `${idle}/retire?await=false`, body: drained });
    await described.answerOf("listQueues", 200);
    await described.answerOf("getQueue", 200, { at: "/api/v1/queues/jobs" });
    await described.answerOf("getQueue", 404, { at: "/api/v1/queues/none" });
    await described.answerOf("listOpenEntries", 200, { at: `${shard}/open?limit=1` });
    await described.answerOf("listOpenEntries", 400, { at: `${shard}/open?cursor=x` });
    await described.answerOf("getEntry", 200, { at: "/api/v1/queues/jobs/entry?name=a" });
    await described.answerOf("getEntry", 404, { at: "/api/v1/queues/jobs/entry?name=none" });
  });

  it("to requests for checkpoints", async () => {
    await described.answerOf("verifyCheckpoint", 404, { at: "/api/v1/checkpoints/checkpoint-0/verify" });
    for (let times = 0; times < 2; times += 1) {
      // While the node saves a checkpoint by itself, after its first look, it responds with 409.
      await vi.waitFor(async () => {
        await described.answerOf("saveCheckpoint", 200, { at: "/api/v1/checkpoints?await=true" });
      });
    }
    await described.answerOf("saveCheckpoint", 415, { body: "x", headers: { "content-type": "text/css" } });
    await described.answerOf("listCheckpoints", 200);
    await described.answerOf("verifyCheckpoint", 200, { at: "/api/v1/checkpoints/newest/verify" });
    await vi.waitFor(async () => await described.answerOf("saveCheckpoint", 202));
    await described.answerOf("getStatus", 200);
    await described.answerOf("listEvictions", 200);
  });

  it("to queries of own indexes", async () => {
    const body = json({ sql: "select 1", args: { a: [1] }, limit: 5 });
    await described.answerOf("queryIndex", 404, { at: "/api/v1/sql/none", body });
    const one = new MemoryNode();
    await using served = await serve({ node: one });
    const querying = new DescribedNode(served.url);
    await querying.answerOf("queryIndex", 200, { at: "/api/v1/sql/pods?min-tx=1", body });
    await querying.answerOf("queryIndex", 400, { at: "/api/v1/sql/pods", body: json({ sql: 1 }) });
    one.queryIndex = () => Promise.reject(new CairnError("QUERY_LIMIT", "Too much.", "Select less."));
    await querying.answerOf("queryIndex", 422, { at: "/api/v1/sql/pods", body });
    described.seen.add("queryIndex 200");
  });

  it("to requests that no operation can execute", { tags: "rest/slow" }, async () => {
    for (const { operationId: id, path: address } of operations.values()) {
      const at = example(address);
      await described.answerOf(id, 417, { at, headers: { expect: "a miracle" } });
      await described.answerOf(id, 431, { at, headers: { "x-padding": "x".repeat(20_000) } });
      await described.answerOf(id, 501, { at, headers: { "transfer-encoding": "gzip, chunked" } });
    }
  });

  it("to requests that arrive too late", async () => {
    await using served = await serve({ requestTimeoutMs: 200 });
    const late = [...operations.values()].map(async ({ method, path: address, responses }) => {
      const socket = connect(served.server.port, "127.0.0.1");
      socket.write(`${method} ${example(address)} HTTP/1.1\r\n`);
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 408 [^]*"REQUEST_INVALID"/);
      expect(responses["408"]?.description).toBe("`REQUEST_INVALID`");
    });
    await Promise.all(late);
  });

  it("to requests with a method of another resource, or that a read-only node refuses", async () => {
    await described.answerOf("listDocuments", 405, { at: "/api/v1/tx" });
    await described.answerOf("getDocument", 405, { at: "/api/v1/checkpoints/newest/verify" });
    await described.answerOf("putDefaultDocument", 405, { at: "/api/v1/tx/batch", body: "1" });
    await described.answerOf("deleteDefaultDocument", 405, { at: "/api/v1/queues/jobs" });
    const refusing = new MemoryNode();
    refusing.submitError = new CairnError("LOG_READ_ONLY", "This node accepts no transactions.");
    refusing.list = () => Promise.reject(new CairnError("LOG_READ_ONLY", "No linearizable reads here."));
    await using served = await serve({ node: refusing });
    const reader = new DescribedNode(served.url);
    await reader.answerOf("submitTransaction", 405, { body: json({ ops: [["delete", "pods", "a"]] }) });
    await reader.answerOf("putDefaultDocument", 405, { at: "/api/v1/pods/a", body: "1" });
    await reader.answerOf("listDocuments", 421, { at: "/api/v1/pods?linearizable=true" });
  });

  it("to requests for history that a policy has removed", async () => {
    // Versions superseded within the last 1,000 transactions are kept.
    const line = json({ ops: [["put", "pods", "a", 1]] });
    const headers = { "content-type": "application/x-ndjson" };
    const body = `${line}\n`.repeat(1_200);
    await described.answerOf("submitBatch", 200, { at: "/api/v1/tx/batch?await=true", body, headers });
    await described.answerOf("watch", 410, { at: "/api/v1/watch?bucket=pods&from=2-000000000000" });
    await described.answerOf("listDocuments", 410, { at: "/api/v1/pods?as-of=2" });
    await described.answerOf("getDefaultDocument", 410, { at: "/api/v1/pods/a?as-of=2" });
    await described.answerOf("getDocument", 410, { at: "/api/v1/pods/default/a?as-of=2" });
  });

  it("with every success in the document", () => {
    const said = [...operations.values()].flatMap(({ operationId, responses }) =>
      Object.keys(responses)
        .filter((status) => Number(status) < 400)
        .map((status) => `${operationId} ${status}`),
    );
    expect(said.filter((one) => !described.seen.has(one))).toEqual([]);
  });

  it("and these tests would detect a response that differs", () => {
    const validate = validator({ $ref: "#/components/schemas/Written" });
    expect(validate({ txId: 7, existed: null })).toBe(true);
    for (const wrong of [
      { existed: true },
      { txId: 7, existed: true, more: 1 },
      { txId: "7", existed: true },
    ])
      expect(validate(wrong)).toBe(false);
  });
  it("and the document for clients has one schema for all successes of an operation, without required nullable properties", () => {
    for (const { operationId, responses } of operations.values()) {
      const schemas = Object.entries(responses)
        .filter(([status, { content }]) => Number(status) < 300 && content !== undefined)
        .map(([, { content }]) => json(content));
      expect([operationId, new Set(schemas).size]).toEqual([operationId, 1]);
    }
    const told = validator({ $ref: "#/components/schemas/Written" });
    expect([{ txId: 7 }, { txId: 7, existed: null }].every((one) => told(one))).toBe(true);
    expect(validator({ $ref: "#/components/schemas/PolicyState" })({ policies: {} })).toBe(true);
  });
});
