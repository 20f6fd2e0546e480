import { EventEmitter, once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, vi } from "vitest";
import { atEndOfTurn } from "../src/serve-requests.ts";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

/** A timeout (ms) that no test reaches. */
const NEVER = 600_000;

async function served(options: Parameters<typeof serve>[0]): Promise<ServedNode> {
  const one = await serve(options);
  await one.node.submit({ ops: [["put", "pods", "default/web-0", { image: "nginx" }]] });
  await one.node.submit({ ops: [["put", "pods", "default/grüße", "·-·"]] });
  await one.node.submit({ ops: [["put", "pods", "default/large", "x".repeat(4_093)]] });
  return one;
}

/**
 * Requests documents of the namespace `default` ahead of the responses, and closes the server while it reads the first
 * one. Returns the status of each response, and whether the response announces the end of the connection.
 */
async function answersWhileClosing(names: readonly string[]): Promise<[status: string, isLast: boolean][]> {
  const one = await served({ closeTimeoutMs: NEVER });
  const gate = new EventEmitter();
  const get = one.node.get.bind(one.node);
  let asked = 0;
  one.node.get = async (key, options) => {
    asked += 1;
    if (asked === 1) await once(gate, "open");
    return await get(key, options);
  };
  const socket = connect(one.server.port, "127.0.0.1");
  socket.write(names.map((name) => `GET /api/v1/pods/${name} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join(""));
  await vi.waitFor(() => expect(asked).toBe(1));
  const closing = one.server.close();
  await vi.waitFor(() => expect(one.fetch("/health/live")).rejects.toThrow("fetch failed"));
  gate.emit("open");
  const answers = (await text(socket)).split("HTTP/1.1 ").slice(1);
  await closing;
  return answers.map((answer) => [answer.slice(0, 3), /^connection: close\r$/im.test(answer)]);
}

it("a read of a document is refused until the node can serve it", async () => {
  await using one = await served({});
  one.node.phase = "replaying";
  const refused = await one.raw("GET", "/api/v1/pods/web-0");
  expect([refused.status, refused.headers["retry-after"]]).toEqual([503, "1"]);
  expect(refused.text).toContain("NOT_READY");
  one.node.phase = "ready";
  expect((await one.raw("GET", "/api/v1/pods/web-0")).text).toBe('{"image":"nginx"}\n');
});

it("a read that fails unexpectedly returns 500, and is logged once", async () => {
  await using one = await served({});
  one.node.get = () => Promise.reject(new Error("a disk of glass"));
  const { status, text: body } = await one.raw("GET", "/api/v1/pods/web-0");
  expect([status, body.includes("glass")]).toEqual([500, false]);
  expect(one.logged).toHaveLength(1);
});

describe("a connection that reads documents", () => {
  it.each(["/api/v1/pods/web-0", "/api/v1/pods/nobody"])("is idle after %s", async (path) => {
    const one = await served({ closeTimeoutMs: NEVER });
    const socket = connect(one.server.port, "127.0.0.1");
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await once(socket, "readable");
    await one.server.close();
    expect(await text(socket)).not.toMatch(/^connection: close/im);
  });

  it.each([
    ["web-0", "200"],
    ["nobody", "404"],
  ])(
    "receives the response for %s that it waits for when the server closes, which announces the end",
    async (name, status) => {
      expect(await answersWhileClosing([name, "web-0"])).toEqual([[status, true]]);
    },
  );
});

it("a response is counted once the client has received it", { tags: "rest/slow" }, async () => {
  await using one = await served({});
  // The document is larger than the kernel's buffers for a client that does not read.
  const json = JSON.stringify("x".repeat(1 << 26));
  one.node.get = (key) => Promise.resolve({ ...key, revision: 1, json });
  const socket = connect(one.server.port, "127.0.0.1");
  socket.write("GET /api/v1/pods/web-0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  await once(socket, "readable");
  expect(one.answered).toEqual([]);
  expect((await text(socket)).endsWith(`${json}\n`)).toBe(true);
  await vi.waitFor(() => expect(one.answered).toMatchObject([{ status: 200 }]));
});

it("the body of a read is not mistaken for the next request", async () => {
  await using one = await served({});
  const body = "GET /api/v1/pods/nobody HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const head = "GET /api/v1/pods/web-0 HTTP/1.1\r\nHost: localhost\r\n";
  const socket = connect(one.server.port, "127.0.0.1");
  const received = text(socket);
  socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  await once(socket, "data");
  socket.write(
    `${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  );
  await once(socket, "data");
  socket.write(`${head}Connection: close\r\n\r\n`);
  expect((await received).match(/HTTP\/1\.1 \d+/g)).toEqual(Array(3).fill("HTTP/1.1 200"));
});

it("the event loop runs all tasks that wait for the end of a turn together, and later tasks after the next turn", async () => {
  const order: string[] = [];
  const wait = (who: string): Promise<void> =>
    new Promise((resolve) =>
      atEndOfTurn(() => {
        order.push(who);
        resolve();
      }),
    );
  const first = Promise.all(["first 1", "first 2", "first 3"].map(wait));
  setImmediate(() => order.push("a turn later"));
  order.push("still in the turn");
  await first;
  await wait("second");
  expect(order).toEqual(["still in the turn", "first 1", "first 2", "first 3", "a turn later", "second"]);
});
