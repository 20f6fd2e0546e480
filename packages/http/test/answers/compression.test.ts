import { type IncomingHttpHeaders, request } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { CairnClient } from "@cairn/client";
import { describe, expect, it, vi } from "vitest";
import { acceptsGzip } from "../../src/serve-requests.ts";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

const LARGE = "é".repeat(5_000);

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Sends a request without the headers that clients add by themselves. */
async function ask(
  { server }: ServedNode,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asked = request({ port: server.port, host: "127.0.0.1", method, path, headers, agent: false });
    asked.once("error", reject);
    asked.once("response", (response) => {
      buffer(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        reject,
      );
    });
    asked.end();
  });
}

/** Starts a server with a small document, a large one, and a bucket whose list is sent in parts. */
async function filled(): Promise<ServedNode> {
  const served = await serve();
  await served.put("/api/v1/pods/small", { a: 1 });
  await served.put("/api/v1/pods/large", LARGE);
  for (let n = 0; n < 300; n += 1) {
    await served.node.submit({ ops: [["put", "many", `default/${n}`, { n, pad: LARGE }]] });
  }
  return served;
}

it.each([
  [undefined, false],
  ["", false],
  ["identity", false],
  ["deflate, br, zstd", false],
  ["gzip", true],
  ["x-gzip", true],
  ["GZip;Q=0.5", true],
  ["br, gzip ; q=0.05", true],
  ["gzip, deflate, br", true],
  ["gzip;q=1.000, br", true],
  ["gzip;q=0, br", false],
  ["gzip;q=0.000", false],
  ["gzip;q=2", false],
  ["gzipped", false],
])("a server compresses its response to Accept-Encoding: %s: %s", (header, isCompressed) => {
  expect(acceptsGzip(header)).toBe(isCompressed);
});

describe("a long response", () => {
  it("is compressed for clients that accept gzip, without a change of its content", async () => {
    await using served = await filled();
    const paths = ["/api/v1/pods/large", "/api/v1/pods", "/api/v1/many?limit=1000", "/openapi.json"];
    for (const path of [...paths, "/api/v1/many?limit=9&as-of=9"]) {
      const plain = await ask(served, "GET", path);
      const { status, headers, body } = await ask(served, "GET", path, { "accept-encoding": "gzip" });
      expect([path, status, headers["content-encoding"]]).toEqual([path, 200, "gzip"]);
      expect(plain.headers["content-encoding"]).toBeUndefined();
      expect([headers.vary, plain.headers.vary]).toEqual(["accept-encoding", "accept-encoding"]);
      expect(headers["content-type"]).toBe(plain.headers["content-type"]);
      expect(gunzipSync(body).equals(plain.body)).toBe(true);
      expect(body.length).toBeLessThan(plain.body.length);
      if (headers["content-length"] !== undefined) expect(headers["content-length"]).toBe(`${body.length}`);
      const head = await ask(served, "HEAD", path, { "accept-encoding": "gzip" });
      const {
        "x-request-id": _a,
        date: _b,
        "content-length": _c,
        "transfer-encoding": _d,
        ...same
      } = headers;
      expect([head.status, head.headers]).toMatchObject([200, same]);
      expect([head.body.length, head.headers["content-length"]]).toEqual([0, undefined]);
    }
  });

  it("is not compressed if it is short or an event stream", async () => {
    await using served = await filled();
    const small = await ask(served, "GET", "/api/v1/pods/small", { "accept-encoding": "gzip" });
    expect([String(small.body), small.headers["content-encoding"], small.headers.vary]).toEqual([
      '{"a":1}\n',
      undefined,
      undefined,
    ]);
    expect(small.headers.etag).toMatch(/^"\d+"$/);
    const events = await ask(served, "HEAD", "/api/v1/watch", { "accept-encoding": "gzip" });
    expect(events.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(events.headers["content-encoding"]).toBeUndefined();
  });

  it("has a weak ETag if compressed, which preconditions treat like the strong one", async () => {
    await using served = await filled();
    const at = "/api/v1/pods/large";
    const gzip = { "accept-encoding": "gzip" };
    const strong = (await ask(served, "GET", at)).headers.etag ?? "";
    const weak = (await ask(served, "GET", at, gzip)).headers.etag ?? "";
    expect([strong, weak]).toEqual([expect.stringMatching(/^"\d+"$/), `W/${strong}`]);
    for (const tag of [strong, weak]) {
      const unchanged = await ask(served, "GET", at, { ...gzip, "if-none-match": tag });
      expect([unchanged.status, unchanged.headers.etag, unchanged.headers.vary]).toEqual([
        304,
        weak,
        "accept-encoding",
      ]);
      const plain = await ask(served, "GET", at, { "if-none-match": tag });
      expect([plain.status, plain.headers.etag]).toEqual([304, strong]);
    }
    expect((await served.put(at, LARGE, { "if-match": weak })).status).toBe(200);
    expect((await served.put(at, LARGE, { "if-match": weak })).status).toBe(412);
    expect((await ask(served, "GET", at, { ...gzip, "if-none-match": weak })).status).toBe(200);
    // The client's fetch requests compression by itself.
    const { revision, document } = (await new CairnClient({ urls: served.url }).get("pods", "large")) ?? {};
    expect([document, `"${revision}"`]).toEqual([LARGE, (await ask(served, "GET", at)).headers.etag]);
  });

  it("arrives whole, however many clients request it concurrently and however many disconnect", async () => {
    await using served = await filled();
    const path = "/api/v1/many?limit=1000";
    const plain = await ask(served, "GET", path);
    const gzip = { "accept-encoding": "gzip" };
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(served, "GET", path, gzip)));
    for (const { headers, body } of answers) {
      const bytes = headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
      expect(bytes.equals(plain.body)).toBe(true);
    }
    for (let n = 0; n < 4; n += 1) {
      await new Promise<void>((resolve) => {
        const asked = request({
          port: served.server.port,
          host: "127.0.0.1",
          path,
          headers: gzip,
          agent: false,
        });
        asked.once("response", () => {
          asked.destroy();
          resolve();
        });
        asked.on("error", () => undefined);
        asked.end();
      });
    }
    await vi.waitFor(async () => {
      expect((await ask(served, "GET", path, gzip)).headers["content-encoding"]).toBe("gzip");
    });
  });
});
