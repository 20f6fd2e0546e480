import { fastify } from "fastify";
import { describe, expect, it } from "vitest";
import { ALL_RIGHTS } from "../../../src/api/system.ts";
import { limitApi } from "../../../src/http/permits/permitted-api.ts";
import { requireRights, ROUTE_RIGHTS } from "../../../src/http/permits/route-rights.ts";
import { Tickets } from "../../../src/http/permits/tickets.ts";
import { servePage } from "../../../src/http/page.ts";
import { registerRoutes } from "../../../src/http/routes/routes.ts";
import { collectMethods } from "../../../src/http/unserved-requests.ts";
import { MemoryNode } from "../memory-node.ts";
import { serve } from "../served-node.ts";

async function registeredRoutes(): Promise<readonly string[]> {
  const app = fastify();
  const { routes } = collectMethods(app);
  const api = new MemoryNode();
  registerRoutes(app, limitApi(api), { maxBody: 1, requestTimeoutMs: 1, tickets: new Tickets() });
  servePage(app, api, { requiresToken: true });
  await app.ready();
  return routes;
}

const ROUTES = await registeredRoutes();

/** One token for each right, with the right's name as its value and its name. */
const TOKENS = ALL_RIGHTS.map((right) => ({ name: right, source: { text: right }, rights: [right] }));

function addressOf(url: string): string {
  return url
    .replace(":bucket", "pods")
    .replace(":queue", "deliveries")
    .replace(":shard", "0")
    .replace(":action", "claim")
    .replace(":name", "newest")
    .replace(":file", "page.js")
    .replace(":id", "2")
    .replace("*", "pods/default/a");
}

describe("every route has one right", () => {
  it("the table lists every registered route, and no other", () => {
    const expected = ROUTES.map((route) => route.replace(/^HEAD /, "GET "));
    expect(new Set(Object.keys(ROUTE_RIGHTS))).toEqual(new Set(expected));
  });

  it("a route without a right cannot be registered, and neither can one that is added later in a part", async () => {
    const app = fastify();
    requireRights(app);
    expect(() => app.get("/api/v1/forgotten", () => "all")).toThrow(/GET \/api\/v1\/forgotten has no right/);
    expect(() => app.delete("/status", () => "all")).toThrow(/DELETE \/status has no right/);
    // A property that every object has is not a right.
    expect(() => app.get("/status", () => "one")).not.toThrow();
    const nested = fastify();
    requireRights(nested);
    // oxlint-disable-next-line typescript/require-await -- The framework expects a promise.
    void nested.register(async (part) => {
      part.get("/api/v1/nested", () => "all");
    });
    await expect(nested.ready()).rejects.toThrow(/GET \/api\/v1\/nested has no right/);
  });

  it.each(ROUTES)("%s is served to tokens with its right only", async (route) => {
    const [method = "", url = ""] = route.split(" ");
    const right = ROUTE_RIGHTS[route.replace(/^HEAD /, "GET ")];
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
