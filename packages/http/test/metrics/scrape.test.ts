import { X509Certificate } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { copyFile, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { CairnError, levelProvider } from "@cairn/kv";
import { faultyStore, unreachable } from "@cairn/checkpoint/testing";
import { expect, it, vi } from "vitest";
import type { NodeStatus } from "@cairn/client";
import { registerMetrics } from "../../src/metrics/node-metrics.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog, type TxLog } from "@cairn/engine";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { observedScene, put } from "@cairn/test-support/nodes/observed-node";
import { parseSamples, valueOf } from "@cairn/test-support/nodes/samples";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const HTTP = { host: "127.0.0.1", port: 0, maxBody: 1_048_576 };

it("a scrape reports the counts of applied, saved, swept and verified objects, and the node's position", async () => {
  const scene = await observedScene();
  const checkpointing = { retentionPolicy: { retainAtLeast: 1 }, verifyEvery: 86_400_000 };
  const node = await scene.start("a", { http: HTTP, checkpointing });
  await node.ready;
  await put(node, "one");
  const first = await node.checkpoint().done;
  const { txId } = await node.submit({
    ops: [
      ["match", "things", "default/one", 2],
      ["put", "things", "default/one", 1],
      ["put", "things", "default/two", 2],
    ],
  });
  const lost = await node.submit({ ops: [["match", "things", "default/one", 99]] });
  await node.await(lost.txId);
  await saveCheckpoint(node);
  await node.verifyCheckpoint();
  const answer = await fetch(`${node.url}/metrics`);
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const text = await answer.text();
  const is = (name: string, labels?: Record<string, string>) => valueOf(text, name, labels);

  expect(is("cairn_build_info", { node: "a" })).toBe(1);
  expect(is("cairn_node_phase", { phase: "ready" })).toBe(1);
  expect(is("cairn_node_phase", { phase: "replaying" })).toBe(0);
  expect(is("cairn_node_ready")).toBe(1);
  expect(is("cairn_applied_transactions_total", { outcome: "committed" })).toBe(txId);
  expect(is("cairn_applied_transactions_total", { outcome: "uncommitted" })).toBe(1);
  expect(is("cairn_applied_operations_total")).toBe(1 + 3);
  expect(is("cairn_applied_bytes_total")).toBeGreaterThan(100);
  expect(is("cairn_apply_duration_seconds_count")).toBeGreaterThan(1);
  expect([is("cairn_log_last_tx"), is("cairn_index_tx")]).toEqual([4, 4]);
  expect([
    is("cairn_log_lag_transactions"),
    is("cairn_log_reachable"),
    is("cairn_log_readings_total"),
  ]).toEqual([0, 1, 1]);
  expect(is("cairn_index_documents")).toBe(2);
  expect(is("cairn_index_bytes")).toBeGreaterThan(0);
  expect(is("cairn_index_disk_free_bytes")).toBeGreaterThan(0);
  expect(is("cairn_work_runs_total", { work: "checkpoint", outcome: "saved" })).toBe(2);
  expect(is("cairn_work_runs_total", { work: "sweep", outcome: "swept" })).toBe(2);
  expect(is("cairn_work_runs_total", { work: "verification", outcome: "verified" })).toBe(1);
  expect(is("cairn_work_duration_seconds_count", { work: "checkpoint", outcome: "saved" })).toBe(2);
  const bytes = "checkpoint" in first ? first.checkpoint.bytes : 0;
  expect(is("cairn_work_bytes_total", { work: "checkpoint" })).toBeGreaterThan(bytes);
  expect(is("cairn_work_bytes_total", { work: "sweep" })).toBe(bytes);
  expect(is("cairn_work_running", { work: "checkpoint" })).toBe(0);
  expect(is("cairn_sweep_removed_total", { reason: "retention" })).toBe(1);
  expect(is("cairn_checkpoint_last_tx")).toBe(4);
  expect(is("cairn_checkpoint_last_age_seconds")).toBeLessThan(60);
  expect(is("cairn_checkpoint_verified_age_seconds")).toBeLessThan(60);
  expect(is("cairn_checkpoint_period_seconds")).toBe(21_600);
  expect(is("cairn_checkpoint_verify_period_seconds")).toBe(86_400);
  expect(is("cairn_store_reachable")).toBe(1);
  expect(is("process_resident_memory_bytes")).toBeGreaterThan(1_000_000);
});

it("a scrape has no more series, however many keys, buckets, addresses and methods are requested", async () => {
  const scene = await observedScene();
  const node = await scene.start("a", { http: HTTP });
  await node.ready;
  for (const bucket of ["pods", "nodes"]) {
    for (const name of ["secret-1", "secret-2", "a/b/c"]) {
      await fetch(`${node.url}/api/v1/${bucket}/default/${name}`);
      await fetch(`${node.url}/api/v1/${bucket}?prefix=${name}`);
    }
  }
  for (const nothing of ["/nothing/secret-3", "/etc/secret-4"]) await fetch(node.url + nothing);
  await fetch(`${node.url}/status`, { method: "PROPFIND" });
  await vi.waitFor(async () => {
    const text = await node.metrics();
    expect(valueOf(text, "cairn_http_requests_total", { route: "none", method: "GET" })).toBe(2);
  });
  const text = await node.metrics();
  expect(JSON.stringify(parseSamples(text))).not.toMatch(/secret|pods|nothing/);
  const requests = parseSamples(text).filter(({ name }) => name === "cairn_http_requests_total");
  expect(requests.length).toBeLessThanOrEqual(4);
});

it("a scrape succeeds while the node waits for its log, and contains the known values", async () => {
  const scene = await observedScene();
  const refused = new CairnError("LOG_UNREACHABLE", "Nobody answers.");
  const node = await scene.start("a", { openTxLog: () => Promise.reject(refused) });
  await vi.waitFor(async () => {
    const text = await node.metrics();
    expect(valueOf(text, "cairn_node_failure", { code: "LOG_UNREACHABLE" })).toBe(1);
  });
  const text = await node.metrics();
  expect(valueOf(text, "cairn_node_phase", { phase: "restoring" })).toBe(1);
  expect([valueOf(text, "cairn_node_ready"), valueOf(text, "cairn_log_reachable")]).toEqual([0, 0]);
  expect(valueOf(text, "cairn_log_last_tx")).toBeUndefined();
  expect(valueOf(text, "cairn_checkpoint_last_age_seconds")).toBeUndefined();
  expect(valueOf(text, "cairn_node_interruptions_total", { code: "LOG_UNREACHABLE" })).toBeGreaterThan(0);
});

it("a scrape counts mismatches of the log, and reports a mismatch while the node has failed", async () => {
  const scene = await observedScene();
  const first = await scene.start("a");
  await first.ready;
  await put(first, "one");
  await first.close();
  await rm(path.join(scene.folder, "log"), { recursive: true });
  const again = await scene.start("a");
  await vi.waitFor(() => expect(again.phase).toBe("failed"));
  const text = await again.metrics();
  expect(valueOf(text, "cairn_node_phase", { phase: "failed" })).toBe(1);
  expect(valueOf(text, "cairn_node_failure", { code: "LOG_DIFFERENT" })).toBe(1);
  expect(valueOf(text, "cairn_log_mismatches_total", { code: "LOG_DIFFERENT" })).toBe(1);
  expect(valueOf(text, "cairn_log_mismatches_total", { code: "LOG_GAP" })).toBe(0);
});

it("a scrape counts failed rounds by code, and reports that the store is unreachable", async () => {
  const scene = await observedScene();
  let isAway = true;
  const store = faultyStore(scene.store, {
    fail: ({ method }) => (isAway && method === "upload" ? unreachable() : undefined),
  });
  const node = await scene.start("a", { checkpointing: { store } });
  await node.ready;
  await put(node, "one");
  await expect(node.checkpoint().done).rejects.toMatchObject({ code: "STORE_UNREACHABLE" });
  const away = await node.metrics();
  const failures = { work: "checkpoint", code: "STORE_UNREACHABLE" };
  expect(valueOf(away, "cairn_work_failures_total", failures)).toBe(1);
  expect(valueOf(away, "cairn_work_runs_total", { work: "checkpoint", outcome: "failed" })).toBe(1);
  expect(valueOf(away, "cairn_store_reachable")).toBe(0);
  const failedAt = valueOf(away, "cairn_work_last_failure_timestamp_seconds", { work: "checkpoint" });
  expect(failedAt).toBeGreaterThan(Date.now() / 1_000 - 60);
  isAway = false;
  await saveCheckpoint(node);
  expect(valueOf(await node.metrics(), "cairn_store_reachable")).toBe(1);
});

it("a scrape counts a round that found another node's lease, and a checkpoint that was skipped during a join", async () => {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  await put(node, "one");
  const saved = await node.checkpoint().done;
  await put(node, "two");
  const expiresAt = new Date(Date.now() + 30_000).toISOString();
  const lease = { owner: "b", nonce: "1", progress: { bytes: 0 }, expiresAt };
  const { id } = (await node.status()).log;
  await scene.store.create(`in-progress-${id}.json`, JSON.stringify(lease));
  expect(await node.checkpoint().done).toMatchObject({ skipped: "leased", lease: { owner: "b" } });
  const text = await node.metrics();
  expect(valueOf(text, "cairn_checkpoint_lease_contention_total", { outcome: "held" })).toBe(1);
  await node.close();

  const name = "checkpoint" in saved ? saved.checkpoint.name : "";
  const manifest = (await scene.store.read(`${name}.json`))?.text ?? "";
  await scene.store.remove(`${name}.json`);
  await scene.store.create(`${name}.json`, manifest.replace(/"sha256": "[0-9a-f]/, '"sha256": "x'));
  const other = await scene.start("c", {
    openTxLog: () => openEmbeddedTxLog({ path: path.join(scene.folder, "log") }),
  });
  await other.ready;
  const joined = await other.metrics();
  expect(valueOf(joined, "cairn_join_skipped_checkpoints")).toBe(1);
});

it("a scrape reports the checkpoint from which a joining node serves stale reads, and what they fetched", async () => {
  const scene = await observedScene();
  const first = await scene.start("a");
  await first.ready;
  const txId = await put(first, "one");
  await first.checkpoint().done;
  await first.close();
  const gate = new EventEmitter();
  const opening = once(gate, "open");
  const store = faultyStore(scene.store, {
    before: async ({ method }) => {
      if (method === "open") await opening;
    },
  });
  const node = await scene.start("b", { http: HTTP, checkpointing: { store } });
  const stale = `${node.url}/api/v1/things/one?stale=true`;
  await vi.waitFor(async () => expect((await fetch(stale)).status).toBe(200), 20_000);
  expect((await fetch(stale)).headers.get("cairn-tx")).toBe(String(txId));
  const attached = await node.metrics();
  expect(valueOf(attached, "cairn_attached_tx")).toBe(txId);
  expect(valueOf(attached, "cairn_attached_requests_total")).toBe(0);
  const { attached: during } = await node.status();
  gate.emit("open");
  await node.ready;
  await vi.waitFor(async () => {
    const joined = await node.metrics();
    expect(valueOf(joined, "cairn_attached_tx")).toBeUndefined();
    expect(valueOf(joined, "cairn_attached_requests_total")).toBe(during?.requests);
    expect(valueOf(joined, "cairn_attached_bytes_total")).toBe(during?.bytes);
  });
  expect(during?.requests).toBeGreaterThan(0);
});

it("a scrape counts each interrupted reading of the log", async () => {
  const scene = await observedScene();
  let log: TxLog | undefined;
  let readings = 0;
  const openTxLog = async (): Promise<TxLog> => {
    const whole = await openEmbeddedTxLog({ path: path.join(scene.folder, "log") });
    log = {
      ...bound(whole),
      async *read(from, options) {
        readings += 1;
        for await (const messages of whole.read(from, options)) {
          yield messages;
          // The source breaks off after each array, except the third time.
          if (readings < 3) return;
        }
      },
    };
    return log;
  };
  const node = await scene.start("a", { openTxLog });
  await node.ready;
  await put(node, "one");
  await put(node, "two");
  await vi.waitFor(async () => {
    expect(valueOf(await node.metrics(), "cairn_log_readings_total")).toBe(3);
  });
});

it("a scrape separates the metrics of two nodes in one process", async () => {
  const [one, other] = [await observedScene(), await observedScene()];
  const [a, b] = [await one.start("a"), await other.start("b")];
  await Promise.all([a.ready, b.ready]);
  await put(a, "one");
  expect(valueOf(await a.metrics(), "cairn_applied_operations_total")).toBe(1);
  expect(valueOf(await b.metrics(), "cairn_applied_operations_total")).toBe(0);
  expect(parseSamples(await b.metrics()).some(({ labels }) => labels["node"] === "a")).toBe(false);
});

it("a scrape has no metrics of a checkpointer if none is configured", async () => {
  const scene = await observedScene();
  const node = await runNode({
    nodeId: "a",
    dir: scene.folder,
    commandLine: (command) => `cairn ${command}`,
    openTxLog: () => openEmbeddedTxLog({ path: path.join(scene.folder, "log") }),
    onLogMismatch: { regressed: "rebuild", different: "halt" },
    kvProvider: levelProvider(),
    dbDir: path.join(scene.folder, "index"),
    checkpointer: undefined,
    http: undefined,
  });
  try {
    await node.ready;
    const text = await node.metrics();
    expect(valueOf(text, "cairn_checkpoint_period_seconds")).toBeUndefined();
    expect(valueOf(text, "cairn_store_reachable")).toBeUndefined();
    expect(valueOf(text, "cairn_work_runs_total", { work: "checkpoint", outcome: "saved" })).toBe(0);
  } finally {
    await node.close();
  }
});

const silent = (): Promise<never> => new Promise(() => {});
const broken = (): Promise<never> => Promise.reject(new Error("broken"));

it("a scrape omits a source that fails or is late, and counts the failure", async () => {
  const errors: [string, unknown][] = [];
  const metrics = registerMetrics({ nodeId: "a" }, (...told) => errors.push(told), 20);
  const never = { phase: "restoring", status: silent, queues: silent } as const;
  const text = await metrics.text(never);
  expect(valueOf(text, "cairn_node_phase", { phase: "restoring" })).toBe(1);
  expect(valueOf(text, "cairn_index_tx")).toBeUndefined();
  expect(valueOf(text, "cairn_index_disk_free_bytes")).toBeUndefined();
  const fails = { phase: "failed", status: broken, queues: broken } as const;
  const second = await metrics.text(fails);
  for (const source of ["status", "queues"]) {
    expect(valueOf(second, "cairn_scrape_failures_total", { source })).toBe(2);
  }
  expect(errors.map(([source]) => source)).toEqual(expect.arrayContaining(["status", "queues"]));
});

it("a scrape reports how far each index of one's own is, unless it is being built or has failed", async () => {
  const own = { version: 1, state: "live", served: 1, built: null, failure: null } as const;
  const node = await new MemoryNode().status();
  const metrics = registerMetrics({ nodeId: "a" }, () => undefined);
  const scraped = async (...ownIndexes: NodeStatus["ownIndexes"]): Promise<string> =>
    await metrics.text({
      phase: "ready",
      status: () => Promise.resolve({ ...node, ownIndexes }),
      queues: () => Promise.resolve([]),
    });
  const text = await scraped({ ...own, name: "orders", txId: 7 }, { ...own, name: "pending", txId: null });
  expect(valueOf(text, "cairn_own_index_tx", { index: "orders" })).toBe(7);
  expect(text).not.toContain("pending");
  expect(await scraped()).not.toContain("orders");
});

it("a node is queried once for concurrent scrapes, and again for the next one", async () => {
  const scene = await observedScene();
  const node = await scene.start("a");
  await node.ready;
  const metrics = registerMetrics({ nodeId: "a" }, () => undefined);
  const status = vi.fn<() => Promise<NodeStatus>>(() => node.status());
  const sources = { phase: "ready", status, queues: () => Promise.resolve([]) } as const;
  const texts = await Promise.all(Array.from({ length: 10 }, () => metrics.text(sources)));
  expect([new Set(texts).size, status.mock.calls.length]).toEqual([1, 1]);
  await setImmediate();
  await metrics.text(sources);
  expect(status).toHaveBeenCalledTimes(2);
});

/** Returns an object that has a log's methods as own properties, so that a test can replace some of them. */
function bound(log: TxLog): TxLog {
  return {
    name: log.name,
    maxPayload: log.maxPayload,
    id: () => log.id(),
    create: (birthRecord) => log.create(birthRecord),
    exists: () => log.exists(),
    append: (payload, options) => log.append(payload, options),
    bounds: () => log.bounds(),
    fetch: (position) => log.fetch(position),
    read: (from, options) => log.read(from, options),
    close: () => log.close(),
  };
}

const FIXTURES = path.join(import.meta.dirname, "../../../log-nats/test/fixtures");
const tls = { cert: path.join(FIXTURES, "server.pem"), key: path.join(FIXTURES, "server-key.pem") };

it("a scrape reports when the certificate of the HTTP server ends, and nothing about one without TLS", async () => {
  const { validTo } = new X509Certificate(await readFile(tls.cert));
  const scene = await observedScene();
  const ends = async (http: object): Promise<number | undefined> => {
    const node = await scene.start("a", { http: { ...HTTP, ...http } });
    const text = await node.metrics();
    await node.close();
    return valueOf(text, "cairn_tls_certificate_end_timestamp_seconds");
  };
  expect(await ends({})).toBeUndefined();
  expect(await ends({ tls })).toBe(Date.parse(validTo) / 1_000);
});

it(
  "a node whose certificate has ended, or has not begun, reports this as failing until its files are replaced, as the hint says",
  { tags: "rest/slow" },
  async () => {
    const scene = await observedScene();
    const place = { cert: path.join(scene.folder, "cert.pem"), key: path.join(scene.folder, "key.pem") };
    await copyFile(path.join(FIXTURES, "expired.pem"), place.cert);
    await copyFile(path.join(FIXTURES, "address-key.pem"), place.key);
    const node = await scene.start("a", { http: { ...HTTP, tls: place } });
    const ended = async (): Promise<unknown> =>
      (await node.status()).findings.filter(({ code }) => code === "certificate-ended");
    expect(await ended()).toMatchObject([
      {
        severity: "failing",
        since: "2020-01-01T00:00:00.000Z",
        hint: expect.stringContaining("config print"),
      },
    ]);
    await copyFile(path.join(FIXTURES, "future.pem"), place.cert);
    const early = { message: expect.stringContaining("is not valid before 2100-01-01") as string };
    await vi.waitFor(async () => expect(await ended()).toMatchObject([early]), { timeout: 20_000 });
    await copyFile(tls.key, place.key);
    await copyFile(tls.cert, place.cert);
    await vi.waitFor(async () => expect(await ended()).toEqual([]), { timeout: 20_000 });
  },
);
