import { describe, expect, test } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

const GUARDED = [
  ["GET", "/status"],
  ["GET", "/metrics"],
  ["GET", "/api/v1/pods"],
  ["GET", "/api/v1/pods/default/x"],
  ["PUT", "/api/v1/pods/default/x"],
  ["POST", "/api/v1/tx"],
  ["POST", "/api/v1/tx/batch"],
  ["GET", "/api/v1/checkpoints"],
  ["HEAD", "/api/v1/digest"],
  ["GET", "/nothing"],
  ["GET", "/healthy"],
] as const;

describe("with an auth token", () => {
  test.each(GUARDED)("%s %s requires the token", async (method, path) => {
    await using served = await serve({ authToken: "s3cret" });
    for (const authorization of [
      undefined,
      "",
      "Bearer",
      "Bearer wrong",
      "Bearer s3cret2",
      "Basic s3cret",
      "s3cret",
    ]) {
      const answer = await served.raw(method, path, {
        headers: authorization === undefined ? {} : { authorization },
      });
      expect(answer.status).toBe(401);
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
      if (method !== "HEAD")
        expect(JSON.parse(answer.text)).toMatchObject({ error: { code: "UNAUTHORIZED" } });
    }
    const allowed = await served.raw(method, path, { headers: { authorization: "bearer s3cret" } });
    expect(allowed.status).not.toBe(401);
    expect(served.node.submitted).toEqual([]);
  });

  test("health does not require the token", async () => {
    await using served = await serve({ authToken: "s3cret" });
    for (const path of ["/health/live", "/health/ready"]) {
      expect((await served.fetch(path)).status).toBe(200);
    }
  });
});

describe("a page of another origin", () => {
  test.each(["cross-site", "same-site"])("cannot write through a browser (%s)", async (site) => {
    await using served = await serve();
    const headers = { "sec-fetch-site": site, "content-type": "text/plain" };
    const answer = await served.raw("POST", "/api/v1/tx", {
      body: '{"ops":[["delete","pods","x"]]}',
      headers,
    });
    expect(answer.status).toBe(403);
    expect(served.node.submitted).toEqual([]);
    expect(
      (await served.raw("PUT", "/api/v1/pods/x", { body: "1", headers: { "sec-fetch-site": "same-origin" } }))
        .status,
    ).toBe(201);
  });
});
