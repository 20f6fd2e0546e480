// @module-tag nats
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { CairnClient, type ClusterStatus } from "@cairn/client";
import { clusterFindings } from "../../src/cluster/cluster-findings.ts";
import { withFindings } from "../../src/findings/node-findings.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { statusOf } from "./responded.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };

async function cluster(node: CairnNode, query = ""): Promise<ClusterStatus> {
  const response = await fetch(`${node.url}/status/cluster${query}`);
  expect(response.status).toBe(200);
  return (await response.json()) as ClusterStatus;
}

/** Asks until exactly `nodes` nodes have responded: a node waits for those that it has heard from, and 100 ms more. */
async function clusterOf(node: CairnNode, nodes: number): Promise<ClusterStatus> {
  return await vi.waitFor(async () => {
    const status = await cluster(node);
    expect(status.nodes).toHaveLength(nodes);
    return status;
  });
}

it(
  "every node returns all nodes, their histories and a verdict, as cairn status --cluster --json prints them",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { parts: { http } });
    const b = await scene.ready("b", { parts: { http } });
    const c = await scene.ready("c");
    const txId = await put(a, 0, 5, "x");
    await Promise.all([b.await(txId), c.await(txId)]);
    const status = await clusterOf(b, 3);
    expect(status).toMatchObject({
      askedBy: { node: "b" },
      verdict: { state: "healthy", message: "3 nodes are ready.", hint: null },
      log: { name: "cairn", lastTxId: txId },
      nodes: [{ node: "a" }, { node: "b" }, { node: "c" }],
      silent: [],
      sameId: [],
      past: { txId, differ: null },
      findings: [],
    });
    for (const { sameLog, past, status: its } of status.nodes) {
      expect([sameLog, past?.txId, its.phase, its.index.txId]).toEqual([true, txId, "ready", txId]);
    }
    const printed = JSON.parse((await statusOf(scene, 3, "--json")).stdout) as object;
    expect(Object.keys(printed).toSorted()).toEqual([...Object.keys(status), "comparison"].toSorted());
    await clusterOf(a, 3);
    const viaClient = await new CairnClient({ urls: a.url ?? "" }).cluster();
    expect(viaClient).toMatchObject({ askedBy: { node: "a" }, nodes: [{}, {}, {}] });
  },
);

it("every node reports what it uses", async () => {
  const a = await scene.ready("a", { parts: { http } });
  await scene.ready("b");
  const own = (await clusterOf(a, 2)).nodes.map(({ status }) => status.resources);
  for (const resources of own) {
    expect(resources?.memoryBytes).toBeGreaterThan(10_000_000);
    expect(resources?.diskFreeBytes).toBeGreaterThan(0);
    expect(resources?.diskTotalBytes).toBeGreaterThan(resources?.diskFreeBytes ?? Infinity);
  }
});

it(
  "ten pages cost one question to the nodes, and so does each further second",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { parts: { http } });
    await put(a, 0, 1, "x");
    const statuses = await Promise.all(Array.from({ length: 10 }, async () => await cluster(a)));
    expect(new Set(statuses.map(({ at }) => at)).size).toBe(1);
    const again = await cluster(a);
    expect(again.at).toBe(statuses[0]?.at);
    await vi.waitFor(async () => expect((await cluster(a)).at).not.toBe(again.at));
  },
);

it(
  "a node that is not ready, or whose log is unreachable, returns what it knows and how to repair it",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { parts: { http } });
    await put(a, 0, 1, "x");
    await scene.nats.stop();
    const status = await vi.waitFor(
      async () => {
        const seen = await cluster(a, "?timeout=PT0.5S");
        expect(seen.verdict.state).toBe("failing");
        return seen;
      },
      { timeout: 20_000 },
    );
    expect(status).toMatchObject({
      nodes: [{ node: "a" }],
      verdict: { message: expect.stringContaining("LOG_UNREACHABLE") },
    });
    // The hint is followed.
    expect(status.verdict.hint).toContain("server is running");
    await scene.nats.start();
    await vi.waitFor(async () => expect((await cluster(a)).verdict.state).toBe("healthy"), {
      timeout: 20_000,
    });
  },
);

it(
  "an overdue checkpoint is no longer reported once its hint has been followed",
  { tags: "rest/slow" },
  async () => {
    const a = await scene.ready("a", { parts: { http } });
    await put(a, 0, 1, "x");
    await saveCheckpoint(a);
    await put(a, 1, 2, "x");
    const found = async (): Promise<readonly (string | null)[]> => {
      const { log, nodes } = await cluster(a);
      const peers = nodes.map((node) => {
        const { checkpoints } = node.status;
        expect(checkpoints.approxFrequencyMs).toBeGreaterThan(0);
        const last =
          checkpoints.last === null ? null : { ...checkpoints.last, ageMs: Number.MAX_SAFE_INTEGER };
        const aged = { ...checkpoints, approxFrequencyMs: 60_000, last };
        const resources = { ...node.status.resources, uptimeMs: 1e10 };
        const facts = { ...node.status, phase: "ready", resources, checkpoints: aged } as const;
        return { ...node, status: withFindings(facts, Date.now()) };
      });
      return clusterFindings({ log, peers, silent: [], past: undefined }, Date.now()).map(({ hint }) => hint);
    };
    const [hint, ...others] = await found();
    expect(others).toEqual([]);
    expect(hint).toMatch(/^Run cairn checkpoint create, /);
    expect((await cairn(["checkpoint", "create", "--url", a.url ?? ""], new CapturedTerminal())).code).toBe(
      0,
    );
    await vi.waitFor(async () => expect(await found()).toEqual([]), { timeout: 10_000 });
  },
);
