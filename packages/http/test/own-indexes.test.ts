import { request } from "node:http";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type AskedIndex, queryIndex } from "@cairn/engine/src/own-indexes/queries/index-queries";
import { QueryProcesses } from "@cairn/engine/src/own-indexes/queries/query-processes";
import { CairnError } from "@cairn/kv";
import { expect, it, vi } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

const AT = "/api/v1/sql/pods";

it("a query is answered with its rows, as of a transaction", async () => {
  await using served = await serve();
  const answer = await served.post(AT, { sql: "select 1", args: { a: 1 } });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("cairn-tx")).toBe("1");
  expect(await answer.json()).toEqual({
    txId: 1,
    columns: ["name", "text", "args"],
    rows: [["pods", "select 1", { a: 1 }]],
    more: false,
  });
});

it("a query has the limits and waits of its request", async () => {
  await using served = await serve();
  const asked = vi.fn<typeof served.node.queryIndex>(served.node.queryIndex);
  served.node.queryIndex = asked;
  await served.post(`${AT}?min-tx=7&timeout=PT2S`, { sql: "select 1", limit: 5 });
  expect(asked.mock.lastCall).toMatchObject([
    "pods",
    { text: "select 1", args: [] },
    { minTx: 7, timeoutMs: 2_000, limits: { rows: 5 } },
  ]);
});

it.each([
  [{}],
  [[]],
  [{ sql: 1 }],
  [{ sql: "", args: 1 }],
  [{ sql: "", args: null }],
  [{ sql: "", limit: 0 }],
  [{ sql: "", limit: 10_001 }],
  [{ sql: "", limit: "5" }],
  [{ sql: "", argz: [] }],
])("a query with another body is refused: %j", async (body) => {
  await using served = await serve();
  const answer = await served.post(AT, body);
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({ error: { code: "REQUEST_INVALID" } });
});

it("an answer in several parts is one document", async () => {
  await using served = await serve();
  const wide = "é".repeat(100_000);
  const part = (from: number) => `[${from},"${wide}"],[${from + 1},"${wide}"]`;
  served.node.queryIndex = () =>
    Promise.resolve({ txId: 3, columns: ["n", "wide"], rows: [1, 3, 5].map(part), more: true });
  const answer = (await (await served.post(AT, { sql: "" })).json()) as { rows: unknown[][]; more: boolean };
  expect(answer.more).toBe(true);
  expect(answer.rows).toEqual([1, 2, 3, 4, 5, 6].map((n) => [n, wide]));
});

it.each([
  ["QUERY_LIMIT", 422, null],
  ["OVERLOADED", 503, "1"],
  ["OWN_INDEX_FAILED", 503, "1"],
] as const)("%s is answered with %i", async (code, status, retryAfter) => {
  await using served = await serve();
  served.node.queryIndex = () => Promise.reject(new CairnError(code, "Refused."));
  const answer = await served.post(AT, { sql: "" });
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([status, retryAfter]);
});

it("a query ends when its client disconnects", async () => {
  await using served = await serve();
  const ended = new Promise<unknown>((resolve) => {
    served.node.queryIndex = (_name, _query, { signal } = {}) =>
      new Promise((_resolve, reject) => {
        asked.destroy();
        signal?.addEventListener("abort", () => {
          resolve(signal.reason);
          reject(signal.reason as Error);
        });
      });
  });
  const asked = request(`${served.url}${AT}`, { method: "POST" }).on("error", () => undefined);
  asked.end('{"sql":"select 1"}');
  expect(await ended).toMatchObject({ message: "The client has closed the connection." });
});

it("a client that leaves ends its query, and large answers come whole", { tags: "rest/slow" }, async () => {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-queries-"));
  await writeFile(path.join(dir, "rows.json"), '{"position":"7-0123456789ab","rows":[]}');
  const processes = new QueryProcesses({ warn: () => undefined });
  await using served = await serve();
  const url = new URL("../../engine/test/own-indexes/answering-index.mjs", import.meta.url).href;
  const index = {
    module: { url, export: "answeringIndex" },
    options: {},
    context: { name: "pods", version: 1, dir },
  };
  const asked: AskedIndex = {
    newest: Infinity,
    served: () => index,
    damaged: (_served, error) => error,
    position: { reached: () => Promise.resolve() },
  };
  served.node.queryIndex = (name, query, options = {}) =>
    queryIndex(() => asked, processes, name, query, {
      ...options,
      timeoutMs: 600_000,
      limits: { ...options.limits, timeoutMs: 600_000 },
    });
  const post = async (body: object, signal?: AbortSignal): Promise<string> => {
    const init = { method: "POST", body: JSON.stringify(body), ...(signal && { signal }) };
    return await (await served.fetch(AT, init)).text();
  };
  try {
    const wide = { sql: "wide", args: [7_000, 1_100] };
    expect((await post(wide)).length).toBeGreaterThan(3_900_000);
    // Both processes would be busy for longer than this test may take.
    const leaving = [0, 1].map(() => post({ sql: "loop" }, AbortSignal.timeout(300)));
    for (const one of leaving) await expect(one).rejects.toThrow("timeout");
    expect((await post(wide)).length).toBeGreaterThan(3_900_000);
  } finally {
    await processes.close(new CairnError("NOT_READY", "The node was closed."));
    await rm(dir, { recursive: true });
  }
});
