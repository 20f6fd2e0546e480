import { CairnError } from "@cairn/kv";
import { describe, expect, test } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

const PUT = ["put", "pods", "default/web-0", { cpu: 1 }];

describe("POST /api/v1/tx", () => {
  test("returns 202 once the log has the transaction or, with await=true, 200 with its outcome", async () => {
    await using served = await serve();
    const stored = await served.post("/api/v1/tx", { ops: [PUT], id: "once" });
    expect([stored.status, await stored.json()]).toEqual([202, { txId: 2 }]);
    expect(served.node.submitted).toEqual([{ ops: [PUT], id: "once" }]);
    const indexed = await served.post("/api/v1/tx?await=true", { ops: [PUT] });
    expect(indexed.status).toBe(200);
    const position = expect.any(String) as string;
    expect(await indexed.json()).toEqual({ txId: 3, txTime: position, position, committed: true });
  });

  test("returns the reason why a transaction was aborted", async () => {
    await using served = await serve();
    const ops = [["match", "pods", "web-0", 7], PUT];
    const answer = await served.post("/api/v1/tx?await=true", { ops });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ committed: false, reason: expect.any(String) });
  });

  test.each([
    ["null", null],
    ["an array", [PUT]],
    ["no ops", {}],
    ["empty ops", { ops: [] }],
    ["an unknown operation", { ops: [["upsert", "pods", "x", 1]] }],
    ["a key written twice", { ops: [PUT, PUT] }],
    ["an unknown field", { ops: [PUT], await: true }],
    ["an unsafe integer", { ops: [["put", "pods", "x", 2 ** 60]] }],
    ["a reserved bucket", { ops: [["put", "tx", "x", 1]] }],
  ])("refuses %s with TX_INVALID and submits nothing", async (_what, body) => {
    await using served = await serve();
    const answer = await served.post("/api/v1/tx", body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: "TX_INVALID" } });
    expect(served.node.submitted).toEqual([]);
  });

  test.each([
    ["LOG_UNREACHABLE", 503],
    ["NOT_READY", 503],
    ["LOG_FULL", 507],
    ["DISK_FULL", 507],
    ["CONFLICT", 409],
    ["TX_TOO_LARGE", 413],
    ["INDEX_CORRUPT", 503],
  ] as const)("passes %s on with status %i", async (code, status) => {
    await using served = await serve();
    served.node.submitError = new CairnError(code, "It did not work.", { hint: "Try later." });
    const answer = await served.post("/api/v1/tx", { ops: [PUT] });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toEqual({ error: { code, message: "It did not work.", hint: "Try later." } });
  });
});

describe("a transaction that is stored, but cannot be awaited", () => {
  test.each(["NOT_READY", "TX_TIMEOUT", "INDEX_CORRUPT"] as const)("is named next to %s", async (code) => {
    await using served = await serve();
    served.node.await = () =>
      Promise.reject(new CairnError(code, "The node stops.", { hint: "Ask another." }));
    const answers = [
      await served.post("/api/v1/tx?await=true", { ops: [PUT] }),
      await served.put("/api/v1/pods/x", 1),
      await served.post("/api/v1/events", { object: "a", reason: "b" }),
    ];
    for (const [index, answer] of answers.entries()) {
      expect(await answer.json()).toMatchObject({
        txId: index + 2,
        error: {
          code,
          hint: expect.stringContaining(`it is stored. Read its outcome with GET /api/v1/tx/${index + 2},`),
        },
      });
    }
  });
});

describe("GET /api/v1/tx/{id}", () => {
  test("returns the outcome of a transaction, and NOT_FOUND for one that is not indexed", async () => {
    await using served = await serve();
    await served.post("/api/v1/tx", { ops: [PUT] });
    expect(await (await served.fetch("/api/v1/tx/2")).json()).toMatchObject({ txId: 2, committed: true });
    const unknown = await served.fetch("/api/v1/tx/3");
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: { hint: expect.stringContaining("timeout") } });
  });

  test("waits for the duration of the parameter timeout", async () => {
    await using served = await serve();
    const waiting = served.fetch("/api/v1/tx/2?timeout=PT20S");
    await served.post("/api/v1/tx", { ops: [PUT] });
    expect((await waiting).status).toBe(200);
    for (const timeout of ["PT0.01S", "10"]) {
      expect((await served.fetch(`/api/v1/tx/9?timeout=${timeout}`)).status).toBe(504);
    }
  });

  test.each(["abc", "-1", "1.5", "1e3", "99999999999999999999", "%31%30x"])(
    "refuses %s as an id",
    async (id) => {
      await using served = await serve();
      expect((await served.raw("GET", `/api/v1/tx/${id}`)).status).toBe(400);
    },
  );
});
