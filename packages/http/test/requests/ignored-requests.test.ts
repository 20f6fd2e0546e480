import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { serve } from "@cairn/test-support/nodes/served-node";

/** Sends a request with these lines and this body. Returns the status code and the raw response. */
async function ask(port: number, lines: readonly string[], body = ""): Promise<[number, string]> {
  const socket = connect(port, "127.0.0.1");
  socket.write([...lines, `Content-Length: ${body.length}`, "Connection: close", "", body].join("\r\n"));
  const answer = await text(socket);
  return [Number(answer.slice(9, 12)), answer];
}

const PUT = "PUT /api/v1/pods/default/x HTTP/1.1";
const HOST = "Host: localhost";

describe("no part of a request is ignored silently:", () => {
  it("a precondition is respected after any number of other header lines", async () => {
    await using served = await serve();
    const padding = Array.from({ length: 3_000 }, () => "a:");
    const { port } = served.server;
    expect((await ask(port, [PUT, HOST, ...padding, 'If-Match: "1"'], "1"))[0]).toBe(412);
    expect((await ask(port, [PUT, HOST, ...padding], "1"))[0]).toBe(201);
  });

  it.each([
    ["two hosts", [PUT, HOST, "Host: evil.test"], "host twice"],
    ["two tokens", [PUT, HOST, "Authorization: Bearer a", "authorization: Bearer b"], "authorization twice"],
    ["two types", [PUT, HOST, "Content-Type: text/plain", "Content-Type: text/html"], "content-type twice"],
    ["a part of a document", [PUT, HOST, "Content-Range: bytes 0-3/9"], "Content-Range"],
    [
      "a time to compare",
      [PUT, HOST, "If-Unmodified-Since: Sat, 21 Nov 2026 10:00:00 GMT"],
      "If-Unmodified-Since",
    ],
    ["a transaction", ["POST /api/v1/tx HTTP/1.1", HOST, 'If-Match: "1"'], "If-Match"],
    ["an event", ["POST /api/v1/events HTTP/1.1", HOST, "If-None-Match: *"], "If-None-Match"],
    ["a list", ["GET /api/v1/pods HTTP/1.1", HOST, 'If-Match: "1"'], "If-Match"],
    ["a history", ["GET /api/v1/pods/x?history=true HTTP/1.1", HOST, 'If-Match: "1"'], "If-Match"],
    ["the status", ["GET /status HTTP/1.1", HOST, "If-Match: *"], "If-Match"],
    ["* beside a tag", [PUT, HOST, 'If-None-Match: *, "2"'], "If-None-Match is neither * nor a list of tags"],
    ["* and a tag", [PUT, HOST, "If-None-Match: *", 'If-None-Match: "2"'], "If-None-Match is neither"],
    ["a word as a tag", [PUT, HOST, "If-None-Match: abc"], "If-None-Match is neither"],
    ["an open quote", [PUT, HOST, 'If-None-Match: "2'], "If-None-Match is neither"],
    ["no tag", [PUT, HOST, "If-None-Match: "], "If-None-Match is neither"],
    ["no tag in a list", [PUT, HOST, "If-None-Match: ,"], "If-None-Match is neither"],
    [
      "thousands of missing tags",
      [PUT, HOST, `If-None-Match: ${", ".repeat(3_000)}x`],
      "If-None-Match is neither",
    ],
    ["a tag without a comma", [PUT, HOST, 'If-Match: "1" "2"'], "If-Match is neither"],
    ["an empty flag", ["PUT /api/v1/pods/default/x?await= HTTP/1.1", HOST], "await must be true or false"],
  ])("%s is refused, and nothing is written", async (_what, lines, told) => {
    await using served = await serve();
    const [status, answer] = await ask(served.server.port, lines, '{"ops":[["put","pods","x",1]]}');
    expect(status).toBe(400);
    expect(answer).toContain(told);
    expect(served.node.submitted).toEqual([]);
  });

  it("a list that a cache revalidates is sent", async () => {
    await using served = await serve();
    const lines = ["GET /api/v1/pods HTTP/1.1", HOST, 'If-None-Match: "1"'];
    expect((await ask(served.server.port, lines))[0]).toBe(200);
  });

  it("the host in the address takes precedence over the header", async () => {
    await using served = await serve();
    const { port } = served.server;
    expect((await ask(port, ["GET http://evil.test/health/live HTTP/1.1", HOST]))[0]).toBe(403);
    const own = `GET http://localhost:${port}/health/live HTTP/1.1`;
    expect((await ask(port, [own, "Host: evil.test"]))[0]).toBe(200);
  });

  it.each([
    ["PUT", "/api/v1/buckets", "GET, HEAD"],
    ["DELETE", "/api/v1/tx/5", "GET, HEAD"],
    ["GET", "/api/v1/tx", "POST"],
    ["GET", "/api/v1/tx/batch", "POST"],
    ["PUT", "/api/v1/events", "GET, HEAD, POST"],
    ["DELETE", "/api/v1/policies", "GET, HEAD, PUT"],
    ["GET", "/api/v1/checkpoints/newest/verify", "POST"],
    ["PUT", "/api/v1/watch", "GET, HEAD"],
    ["OPTIONS", "/api/v1/digest", "GET, HEAD"],
    ["PATCH", "/api/v1/pods/x", "DELETE, GET, HEAD, PUT"],
  ])("%s %s is 405 with exactly the methods that the address supports", async (method, path, allow) => {
    await using served = await serve();
    const { status, headers } = await served.raw(method, path);
    expect([status, String(headers["allow"]).split(", ").toSorted().join(", ")]).toEqual([405, allow]);
  });

  it("a response to bytes that are not HTTP has an id and a date", async () => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write("nonsense\r\n\r\n");
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 .*\r\nDate: .* GMT\r\nX-Request-Id: [\w-]+\r\n/s);
  });
});
