import { ALL_RIGHTS } from "@cairn/client/protocol";
import { describe, expect, it } from "vitest";
import { pageRoutes } from "../../src/page.ts";
import { ROUTES } from "../../src/routes/routes.ts";
import { serve } from "@cairn/test-support/nodes/served-node";

const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  none: ["GET /", "GET /page/:file", "GET /health/live", "GET /health/ready"],
  read: [
    "GET /openapi.json",
    "GET /api/v1/tx/:id",
    "GET /api/v1/buckets",
    "GET /api/v1/events",
    "GET /api/v1/watch",
    "GET /api/v1/follow",
    "POST /api/v1/sql/:index",
    "GET /api/v1/queues",
    "GET /api/v1/queues/:queue",
    "GET /api/v1/queues/:queue/shards/:shard/open",
    "GET /api/v1/queues/:queue/entry",
    "GET /api/v1/:bucket",
    "GET /api/v1/*",
    "GET /api/v1/buckets/:bucket/document",
  ],
  observe: [
    "GET /status",
    "GET /status/cluster",
    "GET /metrics",
    "GET /api/v1/digest",
    "GET /api/v1/checkpoints",
    "GET /api/v1/policies",
  ],
  operate: [
    "POST /api/v1/checkpoints",
    "POST /api/v1/checkpoints/:name/verify",
    "PUT /api/v1/policies",
    "GET /api/v1/tx/evictions",
  ],
  write: [
    "POST /api/v1/tx",
    "POST /api/v1/tx/batch",
    "POST /api/v1/events",
    "POST /api/v1/queues/:queue/entries",
    "POST /api/v1/queues/:queue/shards/:shard/claim",
    "POST /api/v1/queues/:queue/shards/:shard/drain",
    "POST /api/v1/queues/:queue/shards/:shard/renew",
    "POST /api/v1/queues/:queue/shards/:shard/release",
    "POST /api/v1/queues/:queue/shards/:shard/retire",
    "PUT /api/v1/*",
    "DELETE /api/v1/*",
    "PUT /api/v1/buckets/:bucket/document",
    "DELETE /api/v1/buckets/:bucket/document",
  ],
};

const SERVED = [...ROUTES, ...pageRoutes].flatMap((route) => {
  const methods = route.method === "GET" ? ["GET", "HEAD"] : [route.method];
  return methods.map((method) => ({ name: `${method} ${route.label}`, right: route.right }));
});

/** One token for each right, with the right's name as its value and its name. */
const TOKENS = ALL_RIGHTS.map((right) => ({ name: right, source: { text: right }, rights: [right] }));

function addressOf(url: string): string {
  return url
    .replace(":bucket", "pods")
    .replace(":queue", "deliveries")
    .replace(":index", "pods")
    .replace(":shard", "0")
    .replace(":action", "claim")
    .replace(":name", "newest")
    .replace(":file", "page.js")
    .replace(":id", "2")
    .replace("*", "pods/default/a");
}

describe("every route has one right", () => {
  it("and it is the documented one", () => {
    for (const [right, names] of Object.entries(EXPECTED)) {
      const own = SERVED.filter((one) => one.right === right && !one.name.startsWith("HEAD "));
      expect(new Set(own.map(({ name }) => name))).toEqual(new Set(names));
    }
    expect(new Set(SERVED.map(({ right }) => right))).toEqual(new Set(Object.keys(EXPECTED)));
  });

  it.each(SERVED)("$name is served to tokens with its right only", async ({ name, right }) => {
    const [method = "", url = ""] = name.split(" ");
    await using served = await serve({ tokens: TOKENS });
    const answered = async (token: string | undefined): Promise<{ status: number; text: string }> => {
      const headers = {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(url.endsWith("/batch") ? { "content-type": "application/x-ndjson" } : {}),
      };
      const body = method === "GET" || method === "HEAD" ? {} : { body: "{}" };
      return await served.raw(method, addressOf(url), { ...body, headers });
    };
    const refused = [401, 403];
    if (right === "none") {
      expect(refused).not.toContain((await answered(undefined)).status);
      expect(refused).not.toContain((await answered("wrong")).status);
      return;
    }
    expect((await answered(undefined)).status).toBe(401);
    expect((await answered("wrong")).status).toBe(401);
    for (const other of ALL_RIGHTS) {
      const { status, text } = await answered(other);
      const isPermitted = other === right || (right === "observe" && other === "operate");
      if (isPermitted) expect(refused).not.toContain(status);
      else expect(status).toBe(403);
      if (!isPermitted && method !== "HEAD") {
        expect(JSON.parse(text)).toMatchObject({
          error: { code: "FORBIDDEN", message: expect.stringContaining(`"${right}"`) as string },
        });
      }
    }
  });

  it("an address that no route serves requires a token of any rights", async () => {
    await using served = await serve({ tokens: TOKENS });
    expect((await served.fetch("/nothing")).status).toBe(401);
    for (const right of ALL_RIGHTS) {
      const answer = await served.fetch("/nothing", { headers: { authorization: `Bearer ${right}` } });
      expect(answer.status).toBe(404);
    }
  });

  it("a transaction that sets policies requires operate as well as write", async () => {
    const both = { name: "both", source: { text: "both" }, rights: ["write", "operate"] as const };
    await using served = await serve({ tokens: [...TOKENS, both] });
    const configure = { ops: [["configure", {}]] };
    const put = async (token: string): Promise<number> =>
      (await served.post("/api/v1/tx", configure, { authorization: `Bearer ${token}` })).status;
    expect(await put("write")).toBe(403);
    expect(served.node.submitted).toEqual([]);
    expect(await put("both")).toBe(202);
    const policies = await served.put("/api/v1/policies", {}, { authorization: "Bearer operate" });
    expect(policies.status).toBe(200);
  });
});
