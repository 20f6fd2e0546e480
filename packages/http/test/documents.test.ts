import { describe, expect, test } from "vitest";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve } from "@cairn/test-support/nodes/served-node";

interface Written {
  readonly txId: number;
  readonly existed: boolean;
}

const WEB = "/api/v1/pods/default/web-0";

describe("a document", () => {
  test("is returned as it was put, with its revision as ETag", async () => {
    await using served = await serve();
    const put = await served.put(WEB, { cpu: 1 });
    expect(put.status).toBe(201);
    expect(put.headers.get("location")).toBe(WEB);
    const { txId, existed } = (await put.json()) as Written;
    expect(existed).toBe(false);
    const got = await served.fetch(WEB);
    expect(got.status).toBe(200);
    expect(got.headers.get("etag")).toBe(`"${txId}"`);
    expect(got.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(await got.text()).toBe('{"cpu":1}\n');
  });

  test("returns 200 when it is replaced, and is not found when it is deleted a second time", async () => {
    await using served = await serve();
    await served.put(WEB, 1);
    const replaced = await served.put(WEB, 2);
    expect([replaced.status, ((await replaced.json()) as Written).existed]).toEqual([200, true]);
    const existed: boolean[] = [];
    for (let round = 0; round < 2; round += 1) {
      const deleted = await served.fetch(WEB, { method: "DELETE" });
      expect(deleted.status).toBe(200);
      existed.push(((await deleted.json()) as Written).existed);
    }
    expect(existed).toEqual([true, false]);
    expect((await served.fetch(WEB)).status).toBe(404);
  });

  test.each([null, false, 0, -1.5e-7, "", "text", [], {}, { a: { b: [1, null] } }])(
    "may be any JSON value: %j",
    async (value) => {
      await using served = await serve();
      expect((await served.put(WEB, value)).status).toBe(201);
      expect(await (await served.fetch(WEB)).json()).toEqual(value);
    },
  );

  test("may have the keys __proto__, constructor, prototype and toJSON", async () => {
    await using served = await serve();
    const json =
      '{"__proto__":{"admin":true},"constructor":{"prototype":1},"prototype":null,"toJSON":[{"toJSON":1}]}';
    await served.raw("PUT", WEB, { body: json, headers: { "content-type": "application/json" } });
    expect((await served.raw("GET", WEB)).text).toBe(`${json}\n`);
  });

  test.each([
    "application/json",
    "application/json; charset=utf-8",
    "application/merge-patch+json",
    "application/x-www-form-urlencoded",
    "text/plain;charset=UTF-8",
  ])("is accepted as %s", async (type) => {
    await using served = await serve();
    const answer = await served.raw("PUT", WEB, { body: '{"a":1}', headers: { "content-type": type } });
    expect(answer.status).toBe(201);
  });

  test("does not need a Content-Type, and may begin with a byte order mark", async () => {
    await using served = await serve();
    expect((await served.raw("PUT", WEB, { body: '\ufeff{"a":1}' })).status).toBe(201);
    expect((await served.raw("GET", WEB)).text).toBe('{"a":1}\n');
  });

  test("with an integer that would lose digits is refused", async () => {
    await using served = await serve();
    const answer = await served.raw("PUT", WEB, { body: '{"id": 9007199254740993}' });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain("TX_INVALID");
    expect(served.node.submitted).toEqual([]);
  });

  test("is returned without its body in response to HEAD", async () => {
    await using served = await serve();
    await served.put(WEB, { cpu: 1 });
    const head = await served.fetch(WEB, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(head.headers.get("content-length")).toBe("10");
    expect(head.headers.get("etag")).toMatch(/^"\d+"$/);
    expect((await served.fetch(`${WEB}x`, { method: "HEAD" })).status).toBe(404);
  });

  test("written with await=false is acknowledged before it is indexed", async () => {
    await using served = await serve();
    served.node.indexing = false;
    const answer = await served.put(`${WEB}?await=false`, 1);
    expect([answer.status, await answer.json()]).toEqual([202, { txId: 2 }]);
  });

  test("that is not indexed in time is refused with TX_TIMEOUT and its transaction id", async () => {
    await using served = await serve();
    served.node.indexing = false;
    const answer = await served.put(`${WEB}?timeout=PT0.01S`, 1);
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({ error: { code: "TX_TIMEOUT" }, txId: 2 });
  });
});

describe("the history of a document", () => {
  test("can be read as of a transaction or a time", async () => {
    await using served = await serve();
    await served.put(WEB, "first");
    await served.put(WEB, "second");
    const at = async (asOf: string): Promise<unknown> => (await served.fetch(`${WEB}?as-of=${asOf}`)).json();
    expect(await at("2")).toBe("first");
    expect(await at("3")).toBe("second");
    expect(await at("2026-01-01T00:00:00.002Z")).toBe("first");
    expect(await at("2026-01-01T01:00:00.002+01:00")).toBe("first");
    expect((await served.fetch(`${WEB}?as-of=1`)).status).toBe(404);
  });

  test("is listed newest first, page by page", async () => {
    await using served = await serve();
    await served.put(WEB, 1);
    await served.fetch(WEB, { method: "DELETE" });
    await served.put(WEB, 3);
    const first = await served.fetch(`${WEB}?history=true&limit=2`);
    expect(await first.json()).toEqual([
      { revision: 4, txTime: expect.any(String), deleted: false, document: 3 },
      { revision: 3, txTime: expect.any(String), deleted: true },
    ]);
    const next = /^<(.*)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1] ?? "";
    const second = await served.fetch(next);
    expect(await second.json()).toMatchObject([{ revision: 2, document: 1 }]);
    expect(second.headers.get("link")).toBeNull();
  });

  test("of a key that never existed is reported as NOT_FOUND", async () => {
    await using served = await serve();
    expect((await served.fetch(`${WEB}?history=true`)).status).toBe(404);
  });

  test.each(["?limit=5", "?cursor=x", "?history=true&as-of=1"])(
    "refuses parameters that cannot be combined: %s",
    async (query) => {
      await using served = await serve();
      expect((await served.fetch(WEB + query)).status).toBe(400);
    },
  );
});

describe("compare-and-set", () => {
  test.each([
    ["PUT", { "if-match": '"2"' }, 200],
    ["PUT", { "if-match": 'W/"2"' }, 200],
    ["DELETE", { "if-match": '"2"' }, 200],
    ["PUT", { "if-match": '"3"' }, 412],
    ["PUT", { "if-none-match": "*" }, 412],
    ["DELETE", { "if-match": '"1"' }, 412],
    ["DELETE", { "if-none-match": "*" }, 412],
    ["PUT", { "if-match": '"1", "2"' }, 400],
    ["PUT", { "if-match": "*" }, 400],
    ["PUT", { "if-match": '"0"' }, 400],
    ["PUT", { "if-match": '"other"' }, 400],
    ["PUT", { "if-none-match": '"1"' }, 400],
    ["DELETE", { "if-match": '"2"', "if-none-match": '"1"' }, 400],
  ])("%s of a document at revision 2 with %j returns %i", async (method, headers, status) => {
    await using served = await serve();
    await served.put(WEB, "old");
    const answer = await served.raw(method, WEB, {
      headers: headers as Record<string, string>,
      ...(method === "PUT" ? { body: '"new"' } : {}),
    });
    expect(answer.status).toBe(status);
    if (status === 200) return;
    const code = status === 412 ? "CONFLICT" : "REQUEST_INVALID";
    expect(JSON.parse(answer.text)).toMatchObject({ error: { code } });
    expect(await (await served.fetch(WEB)).json()).toBe("old");
  });

  test.each([
    [{ "if-none-match": "*" }, 201],
    [{ "if-match": '"2"' }, 412],
  ])("PUT of an absent document with %j returns %i", async (headers, status) => {
    await using served = await serve();
    const answer = await served.raw("PUT", WEB, { body: "1", headers: headers as Record<string, string> });
    expect(answer.status).toBe(status);
  });

  test("permits only one of many concurrent writes with the same revision", async () => {
    await using served = await serve();
    await served.put(WEB, 0);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => served.put(WEB, i, { "if-match": '"2"' })),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 412)).toHaveLength(19);
  });

  test("responds to reads with 304 for a revision that the client has, and with 412 for an unexpected one", async () => {
    await using served = await serve();
    await served.put(WEB, 0);
    const unchanged = await served.raw("GET", WEB, { headers: { "if-none-match": '"1", W/"2"' } });
    expect([unchanged.status, unchanged.text, unchanged.headers.etag]).toEqual([304, "", '"2"']);
    expect((await served.raw("GET", WEB, { headers: { "if-none-match": '"1"' } })).status).toBe(200);
    expect((await served.raw("GET", WEB, { headers: { "if-match": '"1"' } })).status).toBe(412);
    expect((await served.raw("HEAD", WEB, { headers: { "if-none-match": "*" } })).status).toBe(304);
  });
});

describe("a read", () => {
  test("waits for the transaction that min-tx names", async () => {
    await using served = await serve();
    const waiting = served.fetch(`${WEB}?min-tx=2`);
    await served.put(WEB, "seen");
    expect(await (await waiting).json()).toBe("seen");
  });

  test("is refused with TX_TIMEOUT if the transaction does not come in time", async () => {
    await using served = await serve();
    const answer = await served.fetch(`${WEB}?min-tx=99&timeout=PT0.01S`);
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({ error: { code: "TX_TIMEOUT" } });
  });

  test("that may be stale names the transaction as of which it is valid, also if there is no document", async () => {
    await using served = await serve();
    await served.put(WEB, 1);
    await served.put("/api/v1/pods/default/other", 1);
    const fresh = { headers: { "if-none-match": "*" } };
    for (const [path, status, options] of [
      [WEB, 200],
      [WEB, 304, fresh],
      [`${WEB}?history=true`, 200],
      ["/api/v1/pods/default/absent", 404],
    ] as const) {
      const stale = `${path}${path.includes("?") ? "&" : "?"}stale=true`;
      const answer = await served.raw("GET", stale, options);
      expect([answer.status, answer.headers["cairn-tx"]]).toEqual([status, "3"]);
      expect((await served.raw("GET", path, options)).headers["cairn-tx"]).toBeUndefined();
    }
  });

  test("is refused with NOT_READY before the node is ready, unless it may be stale", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    await served.put(WEB, "old");
    node.phase = "replaying";
    for (const path of [WEB, "/api/v1/pods", `${WEB}?history=true`]) {
      const refused = await served.fetch(path);
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
      expect(await refused.json()).toMatchObject({ error: { code: "NOT_READY" } });
      expect((await served.fetch(`${path}${path.includes("?") ? "&" : "?"}stale=true`)).status).toBe(200);
    }
  });
});
