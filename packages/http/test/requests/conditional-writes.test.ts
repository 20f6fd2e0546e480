import { CairnError } from "@cairn/kv";
import { describe, expect, it } from "vitest";
import type { NodeApi } from "@cairn/engine";
import type { CairnNode } from "@cairn/node";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve } from "@cairn/test-support/nodes/served-node";
import { startedNode } from "./started-node.ts";

const WEB = "/api/v1/pods/default/web-0";
const POLICIES = "/api/v1/policies";

async function put(
  node: CairnNode,
  at: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<number> {
  const answer = await fetch(`${node.url}${at}`, { method: "PUT", body: JSON.stringify(body), headers });
  await answer.text();
  return answer.status;
}

describe("concurrent writes", () => {
  it.each([
    { "if-match": "*" },
    { "if-none-match": '"1"' },
    { "if-match": "*", "if-none-match": '"1", "2"' },
  ])(
    "with %j all succeed if the precondition holds for each of them, and each is applied once",
    async (headers) => {
      const node = await startedNode();
      await put(node, "/api/v1/pods/other", 0);
      await put(node, "/api/v1/pods/other", 1);
      await put(node, WEB, 0);
      const writes = 30;
      const before = Number((await node.status()).index.txId);
      const statuses = await Promise.all(
        Array.from({ length: writes }, (_, i) => put(node, WEB, i, headers)),
      );
      expect(new Set(statuses)).toEqual(new Set([200]));
      // A barrier of the linearizable read, and the write itself.
      expect((await node.status()).index.txId).toBeLessThanOrEqual(before + 2 * writes);
      const { versions } = await node.history({ bucket: "pods", namespace: "default", name: "web-0" });
      expect(versions).toHaveLength(1 + writes);
      expect(new Set(versions.map(({ json }) => json)).size).toBe(writes);
    },
  );

  it("with several revisions succeed only once", async () => {
    const node = await startedNode();
    await put(node, WEB, 0);
    const { revision } = (await node.get({ bucket: "pods", namespace: "default", name: "web-0" })) ?? {};
    const headers = { "if-match": `"${Number(revision) + 100_000}", "${revision}"` };
    const statuses = await Promise.all(Array.from({ length: 10 }, (_, i) => put(node, WEB, i, headers)));
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, ...Array.from({ length: 9 }, () => 412)]);
  });

  it("of policies all succeed with If-Match: *", async () => {
    const node = await startedNode();
    await put(node, POLICIES, {});
    const statuses = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        put(node, POLICIES, { outcomes: { keep: 2_000_000 + i } }, { "if-match": "*" }),
      ),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});

/** A node whose index lacks every document, except for reads that wait until it contains what they must include. */
class LaggingNode extends MemoryNode {
  override async get(...[key, options = {}]: Parameters<NodeApi["get"]>): ReturnType<NodeApi["get"]> {
    const { linearizable, minTx, asOf } = options;
    const isBehind = linearizable !== true && minTx === undefined && asOf === undefined;
    return isBehind ? undefined : await super.get(key, options);
  }
}

/** A node that serves no linearizable reads. */
class ReadOnlyNode extends MemoryNode {
  override async get(...[key, options = {}]: Parameters<NodeApi["get"]>): ReturnType<NodeApi["get"]> {
    if (options.linearizable === true) throw new CairnError("LOG_READ_ONLY", "No linearizable reads here.");
    return await super.get(key, options);
  }
}

describe("a precondition", () => {
  it("includes what another node has acknowledged", async () => {
    await using served = await serve({ node: new LaggingNode() });
    await served.put(WEB, 1);
    expect((await served.put(WEB, 2, { "if-match": '"2", "1"' })).status).toBe(200);
    expect((await served.put(WEB, 3, { "if-match": "*" })).status).toBe(200);
    expect((await served.put(WEB, 4, { "if-none-match": '"3", "4"' })).status).toBe(412);
    expect((await served.fetch(WEB, { method: "DELETE", headers: { "if-match": "*" } })).status).toBe(200);
  });

  it("fails if it ceases to hold before the write", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    await served.put(WEB, 1);
    node.beforeSubmit = async ({ ops }) => {
      if (ops[0]?.[0] !== "match") return;
      node.beforeSubmit = () => Promise.resolve();
      await node.submit({ ops: [["delete", "pods", "default/web-0"]] });
    };
    const answer = await served.put(WEB, 2, { "if-match": "*" });
    expect([answer.status, await answer.json()]).toMatchObject([
      412,
      { error: { code: "CONFLICT", message: "The precondition does not hold: the document is absent." } },
    ]);
    expect((await served.fetch(WEB)).status).toBe(404);
  });

  it("that holds is not reported as failed if other writes come first until the limit ends", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    await served.put(WEB, "other");
    let overtaken = 0;
    node.beforeSubmit = async ({ ops }) => {
      if (ops[0]?.[0] !== "match") return;
      overtaken += 1;
      await node.submit({ ops: [["put", "pods", "default/web-0", "other"]] });
    };
    const answer = await served.put(`${WEB}?timeout=PT0.1S`, "own", { "if-match": "*" });
    expect([answer.status, await answer.json()]).toMatchObject([
      504,
      { error: { code: "TX_TIMEOUT", message: expect.stringMatching(/^Nothing was written within 100 ms/) } },
    ]);
    expect(overtaken).toBeGreaterThan(1);
    expect(await (await served.fetch(WEB)).json()).toBe("other");
    // The hint: send the request again.
    node.beforeSubmit = () => Promise.resolve();
    expect((await served.put(`${WEB}?timeout=PT5S`, "own", { "if-match": "*" })).status).toBe(200);
    expect(await (await served.fetch(WEB)).json()).toBe("own");
  });

  it("is not the reason why a node that only reads refuses a write", async () => {
    const node = new ReadOnlyNode();
    await using served = await serve({ node });
    await served.put(WEB, 1);
    node.submitError = new CairnError("LOG_READ_ONLY", "This node accepts no transactions.");
    const answer = await served.put(WEB, 2, { "if-match": "*" });
    expect([answer.status, await answer.json()]).toMatchObject([
      405,
      { error: { code: "LOG_READ_ONLY", message: "This node accepts no transactions." } },
    ]);
  });

  it("is submitted only once if the outcome is not awaited", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    await served.put(WEB, 1);
    node.beforeSubmit = async ({ ops }) => {
      if (ops[0]?.[0] === "match") await node.submit({ ops: [["put", "pods", "default/web-0", "other"]] });
    };
    const answer = await served.put(`${WEB}?await=false`, 2, { "if-match": "*" });
    expect([answer.status, await answer.json()]).toEqual([202, { txId: 4 }]);
    expect(await (await served.fetch("/api/v1/tx/4")).json()).toMatchObject({ committed: false });
  });
});
