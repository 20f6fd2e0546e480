import { EventEmitter, once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, vi } from "vitest";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve } from "@cairn/test-support/nodes/served-node";

/** Twelve characters that identify the process, and a number. */
const NEW_ID = /^[\w-]{12}-\d+$/;

describe("a request", () => {
  it("has an id, either its own or a new one, in the response, and in the log if it fails", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    const id = async (given?: string): Promise<string | string[] | undefined> => {
      const headers = given === undefined ? {} : { "x-request-id": given };
      return (await served.raw("GET", "/health/live", { headers })).headers["x-request-id"];
    };
    expect(await id("deploy-17/a")).toBe("deploy-17/a");
    const first = await id();
    expect(first).toMatch(NEW_ID);
    expect(await id()).not.toBe(first);
    // An id that is endless or could forge a log line is replaced.
    for (const odd of ['{"level":"fatal"}', "x".repeat(200)]) expect(await id(odd)).toMatch(NEW_ID);
    node.submitError = new Error("of no kind that is known");
    const failed = await served.put("/api/v1/pods/x", 1, { "x-request-id": "find-me" });
    expect([failed.status, failed.headers.get("x-request-id")]).toEqual([500, "find-me"]);
    expect(served.logged).toMatchObject([{ fields: { requestId: "find-me" } }]);
  });

  it.each([
    ["POST", "/status", "GET, HEAD"],
    ["DELETE", "/health/live", "GET, HEAD"],
    ["PATCH", "/api/v1/pods/default/x", "GET, HEAD, PUT, DELETE"],
    ["POST", "/api/v1/pods", "GET, HEAD"],
    ["POST", "/api/v1/buckets/pods/document", "GET, HEAD, PUT, DELETE"],
    ["PATCH", "/api/v1/checkpoints/newest/verify", "POST"],
  ])("%s %s is 405 with the allowed methods", async (method, path, allow) => {
    await using served = await serve();
    const { status, headers, text: body } = await served.raw(method, path);
    const allowed = String(headers["allow"]).split(", ");
    expect([status, allow.split(", ").every((one) => allowed.includes(one))]).toEqual([405, true]);
    expect(allowed).not.toContain(method);
    expect(JSON.parse(body)).toMatchObject({ error: { code: "METHOD_NOT_ALLOWED" } });
  });

  it("to an unknown address results in 404, and HEAD is like GET without a body", async () => {
    await using served = await serve();
    expect((await served.raw("POST", "/nothing")).status).toBe(404);
    await served.put("/api/v1/pods/x", { a: 1 });
    for (const path of ["/status", "/api/v1/pods", "/api/v1/pods/x", "/openapi.json"]) {
      const head = await served.raw("HEAD", path);
      const get = await served.raw("GET", path);
      expect([head.status, head.text]).toEqual([200, ""]);
      expect(head.headers["content-length"]).toBe(get.headers["content-length"]);
      expect(head.headers["etag"]).toBe(get.headers["etag"]);
    }
  });

  it.each([
    ["its headers", "GET /status HTTP/1.1\r\nHost: localhost\r\nX-Slow: "],
    [
      "its body",
      "POST /api/v1/tx HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
  ])("that never finishes sending %s is aborted, and delays no other", async (_, beginning) => {
    await using served = await serve({ requestTimeoutMs: 200 });
    const socket = connect(served.server.port, "127.0.0.1");
    await once(socket, "connect");
    socket.write(beginning);
    // Sends a byte from time to time, like an attacker who wants to keep connections open.
    const dripping = setInterval(() => socket.write(" "), 20);
    socket.on("error", () => undefined);
    try {
      expect((await served.fetch("/status")).status).toBe(200);
      const answer = await text(socket);
      expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout/);
      expect(answer).toContain("The request did not arrive in time.");
    } finally {
      clearInterval(dripping);
      socket.destroy();
    }
    expect(served.node.submitted).toEqual([]);
  });
});

function put(body: string): string {
  return `PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

describe("an unusual request", () => {
  it.each([
    ["no Host", "GET /status HTTP/1.1\r\n\r\n", 400, "The request has no Host header."],
    [
      "bytes that are not HTTP",
      "\u0016\u0003\u0001",
      400,
      "The request is not valid HTTP: Invalid method encountered.",
    ],
    [
      "an unknown expectation",
      "PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n1",
      417,
      'The request has the unknown expectation "miracles".',
    ],
    [
      "headers that are too long",
      `GET /status HTTP/1.1\r\nHost: localhost\r\nX-Long: ${"x".repeat(20_000)}\r\n\r\n`,
      431,
      "The request's headers or address are too long.",
    ],
  ])("with %s is refused in the form of all errors", async (_, sent, status, message) => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    // Some of these requests leave the connection open.
    socket.end(sent);
    const answer = await text(socket);
    expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
    const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
    expect(body.endsWith("}\n")).toBe(true);
    expect(JSON.parse(body)).toMatchObject({ error: { code: "REQUEST_INVALID", message } });
    expect(served.node.submitted).toEqual([]);
  });

  it("with scheme and host in its address, as sent to proxies, is accepted", async () => {
    await using served = await serve();
    await served.put("/api/v1/pods/x", { a: 1 });
    for (const at of [
      "http://localhost/api/v1/pods/x",
      "HTTP://localhost:3000/api/v1/buckets/pods/document?key=default/x",
    ])
      expect(await served.raw("GET", at)).toMatchObject({ status: 200, text: '{"a":1}\n' });
    expect(await served.raw("GET", "http://localhost")).toMatchObject({
      status: 200,
      text: expect.stringContaining("<title>Cairn</title>") as string,
    });
  });

  it.each(["gzip", "br, gzip"])("with a compressed body (%s) is refused", async (encoding) => {
    await using served = await serve();
    for (const [method, path, type] of [
      ["PUT", "/api/v1/pods/x", "application/json"],
      ["POST", "/api/v1/tx/batch", "application/x-ndjson"],
    ] as const) {
      const headers = { "content-type": type, "content-encoding": encoding };
      const answer = await served.raw(method, path, { body: Buffer.from([31, 139, 8, 0]), headers });
      expect([answer.status, answer.headers["accept-encoding"]]).toEqual([415, "identity"]);
      expect(answer.text).toContain(`not with Content-Encoding: ${encoding}`);
    }
    const plain = await served.raw("PUT", "/api/v1/pods/x", {
      body: "1",
      headers: { "content-encoding": "identity" },
    });
    expect(plain.status).toBe(201);
  });

  it("that cannot be parsed does not prevent responses to later requests", async () => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    let received = "";
    socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
    for (const body of ["{", "[7]"]) {
      socket.write(put(body));
      const answered = received.length;
      await vi.waitFor(() => expect(received.length).toBeGreaterThan(answered));
    }
    socket.destroy();
    const statuses = Array.from(received.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => status);
    expect(statuses).toEqual(["400", "201"]);
  });
});

describe("when the server closes", () => {
  it("requests in progress get responses that announce the end of the connection", async () => {
    const node = new MemoryNode();
    const served = await serve({ node, closeTimeoutMs: 10_000 });
    const gate = new EventEmitter();
    const held = once(gate, "open").then(() => undefined);
    let begun = false;
    node.beforeSubmit = () => {
      begun = true;
      return held;
    };
    const answer = served.raw("POST", "/api/v1/tx", {
      body: '{"ops":[["put","pods","x",1]]}',
      headers: { connection: "keep-alive" },
    });
    await expect.poll(() => begun).toBe(true);
    const closing = served.server.close();
    gate.emit("open");
    expect((await answer).status).toBe(202);
    await closing;
    await expect(served.fetch("/status")).rejects.toThrow("fetch failed");
  });
});
