import { once } from "node:events";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, test, vi } from "vitest";
import { ERROR_CODES } from "@cairn/kv";
import { serve } from "@cairn/test-support/nodes/served-node";

const JSON_BODY = { "content-type": "application/json" };

describe("every error", () => {
  test.each([
    ["an unknown address", "GET", "/nothing", {}, 404, "NOT_FOUND"],
    ["an unknown method", "PATCH", "/api/v1/pods/default/x", {}, 405, "METHOD_NOT_ALLOWED"],
    ["a method of another route", "DELETE", "/status", {}, 405, "METHOD_NOT_ALLOWED"],
    ["malformed JSON", "PUT", "/api/v1/pods/x", { body: "{", headers: JSON_BODY }, 400, "TX_INVALID"],
    [
      "bytes that are not UTF-8",
      "PUT",
      "/api/v1/pods/x",
      { body: Buffer.from([34, 255, 34]) },
      400,
      "TX_INVALID",
    ],
    ["no body", "PUT", "/api/v1/pods/x", {}, 400, "TX_INVALID"],
    ["an empty body", "POST", "/api/v1/tx", { headers: JSON_BODY }, 400, "TX_INVALID"],
    ["white space", "PUT", "/api/v1/pods/x", { body: " \n", headers: JSON_BODY }, 400, "TX_INVALID"],
    ["a large body", "PUT", "/api/v1/pods/x", { body: `"${"x".repeat(2000)}"` }, 413, "TX_TOO_LARGE"],
    [
      "XML",
      "PUT",
      "/api/v1/pods/x",
      { body: "<a/>", headers: { "content-type": "text/xml" } },
      415,
      "REQUEST_INVALID",
    ],
    [
      "NDJSON for a document",
      "PUT",
      "/api/v1/pods/x",
      { body: "1", headers: { "content-type": "application/x-ndjson" } },
      415,
      "REQUEST_INVALID",
    ],
    [
      "an invalid media type",
      "PUT",
      "/api/v1/pods/x",
      { body: "1", headers: { "content-type": ";;" } },
      415,
      "REQUEST_INVALID",
    ],
    [
      "another encoding than UTF-8",
      "PUT",
      "/api/v1/pods/x",
      { body: "1", headers: { "content-type": "application/json; charset=iso-8859-1" } },
      415,
      "REQUEST_INVALID",
    ],
    ["an unknown parameter", "GET", "/status?verbose=1", {}, 400, "REQUEST_INVALID"],
    ["nothing there, without a body", "PUT", "/api/v1/tx/x/y", {}, 404, "NOT_FOUND"],
    ["nothing there, with a parameter", "GET", "/api/v1/digest/x?zz=1", {}, 404, "NOT_FOUND"],
    ["a malformed address, before its body", "PUT", "/api/v1/pods/%zz", {}, 400, "REQUEST_INVALID"],
    ["a missing document", "GET", "/api/v1/pods/x", {}, 404, "NOT_FOUND"],
    ["a delete with an empty JSON body is none", "DELETE", "/api/v1/pods/x", { headers: JSON_BODY }, 200, ""],
  ] as const)(
    "of %s has a code, a sentence and a hint",
    async (_what, method, path, options, status, code) => {
      await using served = await serve({ maxBody: 1000 });
      const answer = await served.raw(method, path, { ...options });
      expect(answer.status).toBe(status);
      expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8");
      if (code === "") return;
      const { error, ...rest } = JSON.parse(answer.text) as { error: Record<string, unknown> };
      expect(Object.keys(error)).toEqual(["code", "message", "hint"]);
      expect(error["code"]).toBe(code);
      expect(error["message"]).toMatch(/^[A-Z].*\.$/);
      expect(ERROR_CODES).toContain(error["code"]);
      expect(error["hint"]).toMatch(/^[A-Z].*\.$/);
      expect(answer.text).not.toMatch(/\bat .*\.[tj]s:\d/);
      if (status === 413) expect(rest).toEqual({ limit: 1000 });
    },
  );

  test("of the node itself contains no internals, which are logged", async () => {
    await using served = await serve();
    served.node.submitError = new TypeError("secret is not a function");
    const answer = await served.put("/api/v1/pods/x", 1);
    expect(answer.status).toBe(500);
    const body = await answer.text();
    expect(JSON.parse(body)).toMatchObject({ error: { code: "INTERNAL" } });
    expect(body).not.toContain("secret");
    expect(served.logged).toMatchObject([{ fields: { err: served.node.submitError, method: "PUT" } }]);
  });

  test("about a large body is returned before the whole body is sent, and the rest is read", async () => {
    await using served = await serve({ maxBody: 1000 });
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write("PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n{");
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(String(first)).toMatch(/^HTTP\/1\.1 413 [^]*TX_TOO_LARGE/);
    socket.write(Buffer.alloc(9_999_998, " "));
    socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /);
  });

  test("reaches a client that never stops sending, which is then cut off", async () => {
    await using served = await serve({ maxBody: 1000 });
    const socket = connect(served.server.port, "127.0.0.1");
    const head = "PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    const chunk = `100000\r\n${"x".repeat(0x10_00_00)}\r\n`;
    const endless = Readable.from(
      (function* () {
        yield head;
        for (;;) yield chunk;
      })(),
      { objectMode: false },
    );
    socket.on("error", () => undefined);
    const [first] = (await Promise.all([once(socket, "data"), endless.pipe(socket)]))[0] as [Buffer];
    expect(String(first)).toMatch(/^HTTP\/1\.1 413 /);
    await vi.waitFor(() => expect(socket.closed).toBe(true), 30_000);
    endless.destroy();
  });

  test.each([
    ["bytes that are not HTTP", "hello\r\n\r\n", 400],
    [
      "headers that are too long",
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
      431,
    ],
    ["an address that is too long", `GET /${"x".repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
  ])("for %s has the same form", async (_what, bytes, status) => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write(bytes);
    const answer = await text(socket);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer.endsWith("}\n")).toBe(true);
    expect(JSON.parse(answer.slice(answer.indexOf("{")))).toMatchObject({
      error: { code: "REQUEST_INVALID", hint: expect.stringMatching(/^Send /) as string },
    });
  });
});

describe("an unsupported transfer coding", () => {
  test.each(["gzip, chunked", "x-coding, Chunked", "gzip"])(
    "is refused with 501, nothing is stored: %s",
    async (coding) => {
      await using served = await serve();
      const socket = connect(served.server.port, "127.0.0.1");
      const head = `PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ${coding}`;
      socket.end(`${head}\r\n\r\n8\r\n{"a": 1}\r\n0\r\n\r\n`);
      const answer = await text(socket);
      expect(answer).toMatch(/^HTTP\/1\.1 501 [^]*\r\nconnection: close\r\n/i);
      // The body, whose end is unknown, gets no answer of its own.
      expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
      expect(answer).toContain('"code":"REQUEST_INVALID"');
      expect(answer).toContain(coding);
      expect(served.node.submitted).toEqual([]);
    },
  );
});
