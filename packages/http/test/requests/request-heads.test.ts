import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve } from "@cairn/test-support/nodes/served-node";

/** Sends only a head, and returns everything received until the node ends the connection. */
async function answersTo(port: number, head: readonly string[]): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  return await text(socket);
}

describe("a request whose client waits for 100 Continue", () => {
  it.each([
    ["PUT /nope", ["Content-Length: 9"], 404],
    ["PUT /api/v1/digest", ["Content-Length: 9"], 405],
    ["PUT /api/v1/pods/x", ["Content-Length: 20000000"], 413],
    ["POST /api/v1/tx/batch", ["Content-Length: 9", "Content-Type: text/html"], 415],
    ["POST /api/v1/tx", ["Content-Length: 9", 'If-Match: "7"'], 400],
    ["PUT /api/v1/pods/x", ["Content-Length: 9", "Origin: http://elsewhere.example"], 403],
  ])("%s with %j immediately gets %i, and its connection ends", async (line, headers, status) => {
    await using served = await serve();
    const head = [`${line} HTTP/1.1`, "Host: localhost", "Expect: 100-continue", ...headers];
    const answer = await answersTo(served.server.port, head);
    expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
    expect(answer.toLowerCase()).toContain("connection: close");
    expect(served.node.submitted).toEqual([]);
  });

  it.each([
    ["PUT /api/v1/pods/x", "application/json", "7", 201],
    ["POST /api/v1/tx/batch", "application/x-ndjson", '{"ops":[["put","pods","x",7]]}\n', 202],
  ])("%s receives 100 Continue when its body is read", async (line, type, body, status) => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    const head = [
      `${line} HTTP/1.1`,
      "Host: localhost",
      "Expect: 100-continue",
      `Content-Type: ${type}`,
      `Content-Length: ${body.length}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    expect(String((await once(socket, "data"))[0])).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    socket.write(body);
    expect(String((await once(socket, "data"))[0]).slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
    // The connection stays usable.
    socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(String((await once(socket, "data"))[0]).slice(0, 12)).toBe("HTTP/1.1 200");
    socket.destroy();
    expect(served.node.submitted).toHaveLength(1);
  });
});

describe("a method", () => {
  it("that no route accepts is 405, whatever is sent with it", async () => {
    await using served = await serve();
    for (const method of ["QUERY", "PATCH", "TRACE"]) {
      const head = [`${method} /status HTTP/1.1`, "Host: localhost", "Connection: close"];
      const answer = await answersTo(served.server.port, head);
      expect([method, answer.slice(0, 12)]).toEqual([method, "HTTP/1.1 405"]);
      expect(answer.toLowerCase()).toContain("allow: get, head\r\n");
    }
  });

  it("that is unknown is 400", async () => {
    await using served = await serve();
    const answer = await answersTo(served.server.port, ["FOO /status HTTP/1.1", "Host: localhost"]);
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(answer).toContain('"code":"REQUEST_INVALID"');
  });
});

describe("HEAD", () => {
  it("returns the length of the response to GET, or none", async () => {
    await using served = await serve({ node: new MemoryNode() });
    await served.put("/api/v1/pods/x", { a: 1 });
    const watch = await served.raw("HEAD", "/api/v1/watch");
    expect([watch.status, watch.headers["content-type"], watch.headers["content-length"]]).toEqual([
      200,
      "text/event-stream; charset=utf-8",
      undefined,
    ]);
    const unchanged = await served.raw("HEAD", "/api/v1/pods/x", { headers: { "if-none-match": "*" } });
    expect([unchanged.status, unchanged.headers["content-length"]]).toEqual([304, undefined]);
  });
});
