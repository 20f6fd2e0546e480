import { describe, expect, test } from "vitest";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

async function fill(served: ServedNode, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    await served.node.submit({ ops: [["put", "pods", `ns${i % 2}/web-${i}`, { i }]] });
  }
}

function nextPage(response: Response): string | undefined {
  return /^<(.*)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
}

describe("a list", () => {
  test("is a JSON array in key order, with the transaction as of which it is valid", async () => {
    await using served = await serve();
    await fill(served, 3);
    const answer = await served.fetch("/api/v1/pods");
    expect(answer.headers.get("cairn-tx")).toBe("4");
    expect(answer.headers.get("link")).toBeNull();
    expect(await answer.json()).toEqual([
      { namespace: "ns0", name: "web-0", revision: 2, document: { i: 0 } },
      { namespace: "ns0", name: "web-2", revision: 4, document: { i: 2 } },
      { namespace: "ns1", name: "web-1", revision: 3, document: { i: 1 } },
    ]);
  });

  test("of an empty bucket is empty", async () => {
    await using served = await serve();
    for (const path of ["/api/v1/nothing", "/api/v1/nothing/"]) {
      const answer = await served.fetch(path);
      expect([answer.status, await answer.json()]).toEqual([200, []]);
    }
  });

  test("is read to its end by following Link, which keeps every parameter", async () => {
    await using served = await serve();
    await fill(served, 11);
    let path: string | undefined =
      "/api/v1/pods?limit=2&namespace=ns0&prefix=web%2D&from=web-1&to=web-7&as-of=11";
    const names: string[] = [];
    let pages = 0;
    while (path !== undefined) {
      const answer: Response = await served.fetch(path);
      expect(answer.status).toBe(200);
      for (const { name } of (await answer.json()) as { name: string }[]) names.push(name);
      path = nextPage(answer);
      if (path !== undefined)
        expect(path).toMatch(/^\/api\/v1\/pods\?limit=2&namespace=ns0&prefix=web%2D&from=web-1&to=web-7&/);
      pages += 1;
    }
    expect(names).toEqual(["web-2", "web-4", "web-6"]);
    expect(pages).toBe(2);
  });

  test("of more than a megabyte arrives whole", async () => {
    await using served = await serve();
    const pad = "é".repeat(50_000);
    for (let i = 0; i < 40; i += 1) {
      await served.node.submit({ ops: [["put", "pods", `default/${i}`, pad]] });
    }
    const answer = await served.fetch("/api/v1/pods");
    const body = await answer.text();
    expect(body.endsWith("]\n")).toBe(true);
    const documents = JSON.parse(body) as { document: string }[];
    expect(documents).toHaveLength(40);
    expect(documents.every(({ document }) => document === pad)).toBe(true);
    expect((await served.fetch("/api/v1/pods", { method: "HEAD" })).status).toBe(200);
  });

  test.each([
    "limit=0",
    "limit=1001",
    "limit=ten",
    "limit=1.5",
    "limit=-1",
    "limit=",
    "as-of=yesterday",
    "as-of=2026-13-01",
    "min-tx=abc",
    "min-tx=99999999999999999999",
    "stale=maybe",
    "timeout=5s",
    "timeout=PT5",
    "timeout=P1Y",
    "prefix=%ff",
    "key=default/x&prefix=a",
    "key=default/x&from=a",
    "from=a&from=b",
    "timeout=-PT1S",
    "history=true",
    "limit=1&limit=2",
    "where=status",
    "where=:up",
    "where=age=18",
    "where=>=18",
    "order=age&order=age",
    "Limit=1",
    "__proto__=1",
  ])("with ?%s is refused with a reason", async (query) => {
    await using served = await serve();
    const answer = await served.fetch(`/api/v1/pods?${query}`);
    expect(answer.status).toBe(400);
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    expect(error.code).toBe("REQUEST_INVALID");
    expect(error.message).toMatch(/^[A-Za-z].*\.$/);
  });
});
