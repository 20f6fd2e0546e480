import { ALL_RIGHTS, type Right } from "@cairn/client/protocol";
import { describe, expect, it } from "vitest";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";
import { madePosition } from "@cairn/test-support/nodes/positions";

const RIGHTS: readonly Right[] = ["read", "write"];
const TOKENS = [
  { name: "app", source: { text: "app" }, rights: RIGHTS, buckets: ["orders", "carts"] },
  { name: "all", source: { text: "all" }, rights: ALL_RIGHTS },
];
const AS_APP = { authorization: "Bearer app" };
const AS_ALL = { authorization: "Bearer all" };

/** Starts a node with a document in `orders`, to which the token applies, and one in `people`, to which it does not. */
async function serveTwo(): Promise<ServedNode> {
  const served = await serve({ tokens: TOKENS });
  served.node.ownIndexes = {
    orders: ["orders"],
    people: ["people"],
    both: ["orders", "people"],
    all: undefined,
  };
  for (const bucket of ["orders", "people"])
    expect((await served.put(`/api/v1/${bucket}/default/a`, { bucket }, AS_ALL)).status).toBe(201);
  return served;
}

type Request = [method: string, path: string, body?: unknown];

const OUTSIDE: readonly Request[] = [
  ["GET", "/api/v1/people"],
  ["HEAD", "/api/v1/people"],
  ["GET", "/api/v1/people?where=a:b"],
  ["GET", "/api/v1/people/default/a"],
  ["GET", "/api/v1/people/a"],
  ["GET", "/api/v1/people/default/a?history=true"],
  ["GET", "/api/v1/people/default/a?linearizable=true"],
  ["GET", "/api/v1/people/default/none"],
  ["GET", "/api/v1/people?key=default/a"],
  ["GET", "/api/v1/buckets/people/document?key=default/a"],
  ["PUT", "/api/v1/people/default/a", 1],
  ["DELETE", "/api/v1/people/default/a"],
  ["PUT", "/api/v1/buckets/people/document?key=default/a", 1],
  ["DELETE", "/api/v1/buckets/people/document?key=default/a"],
  ["POST", "/api/v1/tx", { ops: [["put", "people", "default/a", 1]] }],
  [
    "POST",
    "/api/v1/tx",
    {
      ops: [
        ["put", "orders", "default/a", 1],
        ["delete", "people", "default/a"],
      ],
    },
  ],
  [
    "POST",
    "/api/v1/tx",
    {
      ops: [
        ["match", "people", "default/a", null],
        ["put", "orders", "default/a", 1],
      ],
    },
  ],
  ["POST", "/api/v1/tx", { ops: [["evict", "people", "default/a"]] }],
  ["POST", "/api/v1/tx", { ops: [["event", { object: "x", reason: "y", bucket: "people" }]] }],
  ["POST", "/api/v1/tx", { ops: [["event", { object: "x", reason: "y" }]] }],
  ["POST", "/api/v1/events", { object: "x", reason: "y", bucket: "people" }],
  ["POST", "/api/v1/events", { object: "x", reason: "y" }],
  ["GET", "/api/v1/events"],
  ["GET", "/api/v1/events?bucket=people"],
  ["GET", "/api/v1/watch"],
  ["GET", "/api/v1/watch?bucket=people"],
  ["GET", "/api/v1/watch?namespace=default"],
  ["GET", "/api/v1/buckets"],
  ["GET", "/api/v1/queues"],
  ["GET", "/api/v1/queues/people"],
  ["GET", "/api/v1/queues/people/shards/0/open"],
  ["GET", "/api/v1/queues/people/entry?name=a"],
  ["POST", "/api/v1/sql/people", { sql: "select 1" }],
  ["POST", "/api/v1/sql/both", { sql: "select 1" }],
  ["POST", "/api/v1/sql/all", { sql: "select 1" }],
  ["POST", "/api/v1/queues/people/entries", { document: 1 }],
  ["POST", "/api/v1/queues/people/shards/0/claim", { as: "me" }],
  ["POST", "/api/v1/tx", { ops: [["enqueue", "people", "a", 1]] }],
  ["POST", "/api/v1/tx", { ops: [["move", "people", "0/a", 1, 1]] }],
  ["GET", "/api/v1/tx/2?by=true"],
  ["GET", "/api/v1/tx/9999?by=true"],
  ["GET", "/status"],
  ["GET", "/metrics"],
  ["GET", "/api/v1/digest"],
  ["GET", "/api/v1/policies"],
  ["GET", "/api/v1/checkpoints"],
  ["GET", "/api/v1/tx/evictions"],
];

const INSIDE: readonly Request[] = [
  ["POST", "/api/v1/sql/orders", { sql: "select 1" }],
  ["GET", "/api/v1/orders"],
  ["GET", "/api/v1/orders/default/a"],
  ["GET", "/api/v1/orders/default/a?history=true"],
  ["GET", "/api/v1/buckets/orders/document?key=default/a"],
  ["PUT", "/api/v1/orders/default/a", 2],
  ["PUT", "/api/v1/carts/default/b", 2],
  [
    "POST",
    "/api/v1/tx",
    {
      ops: [
        ["put", "orders", "a", 1],
        ["match", "carts", "b", null],
      ],
    },
  ],
  ["POST", "/api/v1/events", { object: "x", reason: "y", bucket: "orders" }],
  ["GET", "/api/v1/events?bucket=orders"],
  ["GET", "/api/v1/watch?bucket=orders"],
  ["GET", "/api/v1/queues/orders"],
  ["GET", "/api/v1/queues/orders/shards/0/open"],
  ["GET", "/api/v1/queues/orders/entry?name=a"],
  ["POST", "/api/v1/queues/orders/shards/0/claim", { as: "me" }],
  ["GET", "/api/v1/tx/2"],
];

function send(served: ServedNode, [method, path, body]: Request, headers = AS_APP) {
  return served.raw(method, path, { headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
}

describe("a token that applies to two buckets", () => {
  it.each(OUTSIDE)("cannot use anything outside with %s %s", async (method, path, body) => {
    const request: Request = [method, path, body];
    await using served = await serveTwo();
    const before = served.node.submitted.length;
    const { status, text } = await send(served, request);
    expect(status).toBe(403);
    expect(text).not.toContain('"bucket":"people"');
    if (method !== "HEAD")
      expect(JSON.parse(text)).toMatchObject({
        error: { code: "FORBIDDEN", hint: expect.any(String) as string },
      });
    expect(served.node.submitted).toHaveLength(before);
    expect([401, 403]).not.toContain((await send(served, request, AS_ALL)).status);
  });

  it.each(INSIDE)("can use them with %s %s", async (method, path, body) => {
    await using served = await serveTwo();
    expect((await send(served, [method, path, body])).status).toBeLessThan(300);
  });

  it("a batch stops at the first line that names another bucket, and nothing behind it is stored", async () => {
    await using served = await serveTwo();
    const before = served.node.submitted.length;
    const lines = ["orders", "people", "orders"].map((bucket) =>
      JSON.stringify({ ops: [["put", bucket, "x", 1]] }),
    );
    const answer = await served.raw("POST", "/api/v1/tx/batch", {
      headers: { ...AS_APP, "content-type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.text)).toMatchObject({
      error: { code: "FORBIDDEN", message: expect.stringMatching(/^Line 2: /) as string },
      line: 2,
      accepted: 1,
      acceptedAfter: 0,
    });
    expect(served.node.submitted).toHaveLength(before + 1);
  });

  it("does not see into which shards a transaction has enqueued", async () => {
    await using served = await serveTwo();
    const outcome = { txId: 11, txTime: "2026-11-20T06:00:00.000Z", position: madePosition(11) };
    served.node.outcome = () => Promise.resolve({ ...outcome, committed: true, shards: [0] });
    const seen = async (headers: Record<string, string>) =>
      (await (await served.fetch("/api/v1/tx/11", { headers })).json()) as object;
    expect(await seen(AS_APP)).toEqual({ ...outcome, committed: true });
    expect(await seen(AS_ALL)).toMatchObject({ shards: [0] });
  });

  it("sees why a transaction was aborted only if the reason names a bucket of its own", async () => {
    await using served = await serveTwo();
    const outcomes = {
      11: "CONFLICT: orders default/a is at revision 4",
      12: "CONFLICT: people default/a is at revision 4",
      13: "CONFLICT: the policies are at revision 4",
      14: "TX_INVALID: people default/a is written twice",
    };
    served.node.outcome = (txId) => {
      const reason = outcomes[txId as keyof typeof outcomes];
      const at = { txId, txTime: "2026-11-20T06:00:00.000Z", position: madePosition(txId) };
      return Promise.resolve({ ...at, committed: false, reason });
    };
    for (const [txId, reason] of Object.entries(outcomes)) {
      const seen = (await (await served.fetch(`/api/v1/tx/${txId}`, { headers: AS_APP })).json()) as object;
      expect(seen).toEqual({
        txId: Number(txId),
        txTime: "2026-11-20T06:00:00.000Z",
        position: madePosition(Number(txId)),
        committed: false,
        ...(txId === "11" ? { reason } : {}),
      });
      const all = await (await served.fetch(`/api/v1/tx/${txId}`, { headers: AS_ALL })).json();
      expect(all).toMatchObject({ reason });
    }
  });
});

it.each(["/api/v1/events?bucket=", "/api/v1/follow?bucket="])(
  "a name that no bucket can have is not advised for the configuration: %s",
  async (path) => {
    await using served = await serveTwo();
    const answer = await served.fetch(path, { headers: AS_APP });
    expect(await answer.json()).toMatchObject({
      error: {
        code: "FORBIDDEN",
        message: 'The token app does not apply to the bucket "".',
        hint: "Use a token that is not limited to buckets.",
      },
    });
  },
);
