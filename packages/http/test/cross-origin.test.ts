import { describe, expect, it } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

describe("the name in a request's Host header", () => {
  it("is refused if it is not this machine's and no token is required, so that no page can rebind its name to this machine", async () => {
    await using served = await serve();
    for (const host of [
      "evil.example",
      `evil.example:${served.server.port}`,
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "10.0.0.7:3000",
    ]) {
      const answer = await served.raw("GET", "/status", { headers: { host } });
      expect([host, answer.status]).toEqual([host, 403]);
      expect(JSON.parse(answer.text)).toMatchObject({
        error: { code: "FORBIDDEN", hint: expect.stringContaining("allowed-hosts") },
      });
    }
    const body = '{"ops":[["put","pods","x",1]]}';
    expect((await served.raw("POST", "/api/v1/tx", { body, headers: { host: "evil.example" } })).status).toBe(
      403,
    );
    expect(served.node.submitted).toEqual([]);
  });

  it("is accepted if it is one of the names for this machine, with any port", async () => {
    await using served = await serve();
    for (const host of ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9999", "[::1]", "[::1]:3000"]) {
      expect([host, (await served.raw("GET", "/status", { headers: { host } })).status]).toEqual([host, 200]);
    }
  });

  it("is accepted if it is configured", async () => {
    await using served = await serve({ allowedHosts: ["cairn.local"] });
    const status = async (host: string): Promise<number> =>
      (await served.raw("GET", "/status", { headers: { host } })).status;
    expect([await status("Cairn.local:80"), await status("other.local")]).toEqual([200, 403]);
  });

  it("is accepted if a token is required, or if other machines may connect", async () => {
    await using secret = await serve({ authToken: "s3cret" });
    const headers = { host: "cairn.example", authorization: "Bearer s3cret" };
    expect((await secret.raw("GET", "/status", { headers })).status).toBe(200);
    await using open = await serve({ host: "0.0.0.0" });
    expect((await open.raw("GET", "/status", { headers: { host: "cairn.example" } })).status).toBe(200);
  });
});

describe("a page of another site whose requests have only an Origin", () => {
  it("cannot write if no token is required, while the node's own page can", async () => {
    await using served = await serve({ host: "0.0.0.0", corsOrigins: ["https://dash.example"] });
    const status = async (origin: string, host = "10.0.0.7:3000"): Promise<number> => {
      const headers = { host, origin, "content-type": "text/plain" };
      return (await served.raw("PUT", "/api/v1/pods/x", { body: "1", headers })).status;
    };
    for (const origin of [
      "http://evil.example",
      "null",
      "http://10.0.0.7",
      "https://10.0.0.7:3000.evil.example",
    ])
      expect([origin, await status(origin)]).toEqual([origin, 403]);
    expect(served.node.submitted).toEqual([]);
    expect(await status("http://10.0.0.7:3000")).toBe(201);
    expect(await status("https://Cairn.example", "cairn.example")).toBe(200);
    expect(await status("https://dash.example")).toBe(200);
  });

  it("is not refused because of its origin if a token is required, because a proxy may change the node's name", async () => {
    await using served = await serve({ authToken: "s3cret" });
    const headers = { host: "internal:3000", origin: "http://cairn.example", authorization: "Bearer s3cret" };
    expect((await served.raw("PUT", "/api/v1/pods/x", { body: "1", headers })).status).toBe(201);
  });
});

describe("a page of another origin", () => {
  const origin = "https://dash.example";
  const preflight = {
    origin,
    "access-control-request-method": "PUT",
    "access-control-request-headers": "if-match",
  };

  it("can read nothing unless it is allowed", async () => {
    await using served = await serve();
    const asked = await served.raw("OPTIONS", "/api/v1/pods/x", { headers: preflight });
    expect(asked.status).toBe(405);
    const read = await served.raw("GET", "/status", { headers: { origin } });
    for (const { headers } of [asked, read]) {
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
    }
  });

  it("that is allowed can read and write, and read the headers that it needs", async () => {
    await using served = await serve({ corsOrigins: [origin], authToken: "s3cret" });
    // A browser sends a preflight before it may send the token.
    const asked = await served.raw("OPTIONS", "/api/v1/pods/x", { headers: preflight });
    expect([asked.status, asked.text]).toEqual([204, ""]);
    expect(asked.headers["access-control-allow-origin"]).toBe(origin);
    expect(asked.headers["access-control-allow-methods"]).toContain("PUT");
    expect(asked.headers["access-control-allow-headers"]).toContain("if-match");
    const headers = { origin, authorization: "Bearer s3cret", "sec-fetch-site": "cross-site" };
    const put = await served.raw("PUT", "/api/v1/pods/x", { body: "1", headers });
    expect([put.status, put.headers["access-control-allow-origin"], put.headers["vary"]]).toEqual([
      201,
      origin,
      "origin",
    ]);
    expect(put.headers["access-control-expose-headers"]).toContain("etag");
    // Even an error can be read.
    const refused = await served.raw("GET", "/status", { headers: { origin } });
    expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([401, origin]);
  });

  it("is not mistaken for another origin that is allowed", async () => {
    await using served = await serve({ corsOrigins: [origin] });
    for (const other of ["https://dash.example.evil", "http://dash.example", "null"]) {
      const headers = { ...preflight, origin: other, "sec-fetch-site": "cross-site" };
      expect(
        (await served.raw("OPTIONS", "/api/v1/pods/x", { headers })).headers["access-control-allow-origin"],
      ).toBeUndefined();
      expect((await served.raw("PUT", "/api/v1/pods/x", { body: "1", headers })).status).toBe(403);
    }
    expect(served.node.submitted).toEqual([]);
  });

  it("is allowed with *, whichever origin it is", async () => {
    await using served = await serve({ corsOrigins: ["*"] });
    const { headers } = await served.raw("GET", "/status", { headers: { origin } });
    expect([headers["access-control-allow-origin"], headers["vary"]]).toEqual(["*", undefined]);
  });
});
