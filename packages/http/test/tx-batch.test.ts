import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { CairnError, resolvable } from "@cairn/kv";
import { describe, expect, test, vi } from "vitest";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

function line(i: number, pad = ""): string {
  return JSON.stringify({ ops: [["put", "pods", `default/${i}`, { i, pad }]], id: `id-${i}` });
}

/** Returns a line that puts `n` as the one document of all such lines. */
function put(n: number, id?: string): string {
  return JSON.stringify({ id, ops: [["put", "pods", "default/a", n]] });
}

function post(served: ServedNode, body: string | Buffer, query = ""): Promise<Response> {
  return served.fetch(`/api/v1/tx/batch${query}`, {
    method: "POST",
    body: new Blob([new Uint8Array(Buffer.from(body))]),
    headers: { "content-type": "application/x-ndjson" },
  });
}

function submittedIds(served: ServedNode): (string | undefined)[] {
  return served.node.submitted.map(({ id }) => id);
}

describe("POST /api/v1/tx/batch", () => {
  test("stores every line in order, in whichever order the log acknowledges them", async () => {
    await using served = await serve();
    const lines = Array.from({ length: 5000 }, (_, i) => line(i));
    const answer = await post(served, `${lines.join("\n")}\n`);
    expect(answer.status).toBe(202);
    expect(await answer.json()).toEqual({ accepted: 5000, firstTxId: 2, lastTxId: 5001 });
    expect(submittedIds(served)).toEqual(lines.map((_, i) => `id-${i}`));
  });

  test("accepts CRLF, blank lines, a byte order mark and a last line without a line break", async () => {
    await using served = await serve();
    const answer = await post(served, `\ufeff${line(0)}\r\n\r\n  \n\n${line(1)}\n${line(2)}`, "?await=true");
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { accepted: 3, firstTxId: 2, lastTxId: 4, aborted: 0, abortedLines: [] },
    ]);
  });

  test.each([
    ["application/ndjson", 202],
    ["application/jsonl", 202],
    ["application/x-jsonlines; charset=utf-8", 202],
    ["text/plain", 202],
    ["application/octet-stream", 202],
    ["application/json", 415],
    ["application/x-www-form-urlencoded", 415],
  ])("responds to a body of type %s with %i", async (type, status) => {
    await using served = await serve();
    const body = `${line(0)}\n${line(1)}\n`;
    const { status: answered } = await served.raw("POST", "/api/v1/tx/batch", {
      body,
      headers: { "content-type": type },
    });
    expect([answered, submittedIds(served).length]).toEqual([status, status === 202 ? 2 : 0]);
  });

  test("accepts an empty batch", async () => {
    await using served = await serve();
    for (const body of ["", "\n", "\r\n \n"]) {
      const answer = await post(served, body, "?await=true");
      expect(await answer.json()).toEqual({
        accepted: 0,
        firstTxId: null,
        lastTxId: null,
        aborted: 0,
        abortedLines: [],
      });
    }
  });

  test.each([
    ["broken JSON", '{"ops": [', "TX_INVALID"],
    ["no transaction", "[1, 2]", "TX_INVALID"],
    ["an unsafe integer", '{"ops":[["put","pods","x",9007199254740993]]}', "TX_INVALID"],
    ["bytes that are not UTF-8", Buffer.from([0x22, 0xff, 0x22]), "TX_INVALID"],
    ["a line above the limit", `{"ops":[["put","pods","x","${"x".repeat(10_000)}"]]}`, "TX_TOO_LARGE"],
  ])(
    "stops at a line with %s, and returns its number and a summary of the stored lines",
    async (_what, bad, code) => {
      await using served = await serve({ maxBody: 1000 });
      const body = Buffer.concat([
        Buffer.from(`${line(0)}\n\n${line(1)}\n`),
        Buffer.from(bad),
        Buffer.from(`\n${line(2)}\n`),
      ]);
      const answer = await post(served, body);
      expect(answer.status).toBe(code === "TX_INVALID" ? 400 : 413);
      expect(await answer.json()).toMatchObject({
        error: { code, message: expect.stringMatching(/^Line 4: /) },
        line: 4,
        accepted: 2,
        acceptedAfter: 0,
        lastTxId: 3,
      });
      expect(submittedIds(served)).toEqual(["id-0", "id-1"]);
    },
  );

  test("accepts the largest document that another request can write, under any key", async () => {
    await using served = await serve({ maxBody: 1000 });
    const document = "x".repeat(998);
    const key = `default/${"\u0001".repeat(1016)}`;
    const address = `/api/v1/pods/${encodeURIComponent(key.slice("default/".length))}`;
    const { status } = await served.raw("PUT", address, { body: JSON.stringify(document) });
    expect(status).toBe(201);
    const id = "i".repeat(128);
    const answer = await post(served, `${JSON.stringify({ ops: [["put", "pods", key, document]], id })}\n`);
    expect(answer.status).toBe(202);
  });

  test("accepts a line of exactly the limit, and numbers lines starting with first-line", async () => {
    await using served = await serve({ maxBody: 1000 });
    const exact = line(0, "x".repeat(9192 - line(0).length));
    expect(exact).toHaveLength(9192);
    expect((await post(served, `${exact}\r\n`)).status).toBe(202);
    const answer = await post(served, `${exact}\n${exact}x\n`, "?first-line=500");
    expect(await answer.json()).toMatchObject({ line: 501, accepted: 1 });
  });

  test("counts later lines that the log stored although an earlier one failed", async () => {
    await using served = await serve();
    served.node.beforeSubmit = ({ id }) =>
      id === "id-1" ? Promise.reject(new CairnError("LOG_UNREACHABLE", "Gone.")) : Promise.resolve();
    const answer = await post(served, `${[0, 1, 2, 3].map((i) => line(i)).join("\n")}\n`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ line: 2, accepted: 1, acceptedAfter: 2 });
  });

  test("says which line the log has stored behind later ones, and what to send again", async () => {
    await using served = await serve();
    // The second line is stored once the fourth one is.
    const fourth = resolvable();
    served.node.beforeSubmit = async ({ id }) => {
      if (id === "id-1") await fourth.promise;
      if (id === "id-3") setImmediate(fourth.resolve);
    };
    const lines = [0, 1, 2, 3].map((n) => put(n, `id-${n}`));
    const answer = await post(served, lines.join("\n"), "?first-line=11");
    expect([answer.status, await answer.json()]).toMatchObject([
      409,
      {
        error: {
          code: "CONFLICT",
          message: expect.stringContaining("line 12 after line 13, as the transactions 5 and 3"),
          hint: expect.stringContaining("send the lines from 12 on again"),
        },
        accepted: 4,
        lastTxId: 5,
      },
    ]);
    const value = async (): Promise<unknown> => await (await served.fetch("/api/v1/pods/default/a")).json();
    expect(await value()).toBe(1);
    // The hint is followed: from line 12 on again, without ids.
    served.node.beforeSubmit = () => Promise.resolve();
    expect((await post(served, [1, 2, 3].map((n) => put(n)).join("\n"))).status).toBe(202);
    expect(await value()).toBe(3);
  });

  test("returns an error immediately while the client is still sending, and keeps the connection usable", async () => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    const rest = `${line(1)}\n`.repeat(50_000);
    const length = `Content-Length: ${"broken\n".length + rest.length}`;
    socket.write(
      `POST /api/v1/tx/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n${length}\r\n\r\n`,
    );
    socket.write("broken\n");
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(String(first)).toMatch(/^HTTP\/1\.1 400 [^]*"line":1,/);
    socket.write(rest);
    socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /);
    expect(served.node.submitted).toEqual([]);
  });

  test("reads only a bounded amount ahead of a slow log", { tags: "rest/slow" }, async () => {
    await using served = await serve();
    const open = new AbortController();
    const gate = once(open.signal, "abort").then(() => undefined);
    let begun = 0;
    served.node.beforeSubmit = () => {
      begun += 1;
      return gate;
    };
    const big = line(0, "x".repeat(100_000));
    const answer = post(served, `${big}\n`.repeat(400));
    await vi.waitFor(() => expect(begun).toBeGreaterThan(60), 30_000);
    await served.fetch("/health/live");
    expect(begun).toBeLessThan(120);
    open.abort();
    expect(await (await answer).json()).toMatchObject({ accepted: 400 });
  });

  test("stores the lines that a client sent before it disconnected", async () => {
    await using served = await serve();
    const sending = request(`${served.url}/api/v1/tx/batch`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
    });
    sending.on("error", () => undefined);
    sending.write(`${line(0)}\n${line(1)}\n{"ops`);
    await vi.waitFor(() => expect(served.node.submitted).toHaveLength(2));
    sending.destroy();
    expect((await served.fetch("/health/live")).status).toBe(200);
    expect(served.logged).toEqual([]);
  });

  test("requires NDJSON", async () => {
    await using served = await serve();
    const answer = await served.post("/api/v1/tx/batch", { ops: [] });
    expect(answer.status).toBe(415);
    expect(await answer.json()).toMatchObject({ error: { hint: expect.stringContaining("x-ndjson") } });
  });
});
