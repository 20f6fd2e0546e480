import { EventEmitter, once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, vi } from "vitest";
import { atEndOfTurn } from "../../src/http/plain-reads.ts";
import { type RawAnswer, serve, type ServedNode } from "./served-node.ts";

type Headers = Record<string, string>;

/** A timeout (ms) that no test reaches. */
const NEVER = 600_000;
const TOKEN = "a-token-of-this-node";
const PAGE = "https://page.example";

const SERVERS: [what: string, options: Parameters<typeof serve>[0]][] = [
  ["without options", {}],
  ["that requires a token", { authToken: TOKEN }],
  ["that lets one page read", { corsOrigins: [PAGE] }],
  ["that lets every page read", { corsOrigins: ["*"] }],
];

const REQUESTS: [what: string, path: string, headers?: Headers][] = [
  ["a document", "/api/v1/pods/default/web-0"],
  ["a document of the default namespace", "/api/v1/pods/web-0"],
  ["a document that is not ASCII", "/api/v1/pods/default/gr%C3%BC%C3%9Fe"],
  ["a large document", "/api/v1/pods/default/large"],
  ["a large document, compressed", "/api/v1/pods/default/large", { "accept-encoding": "gzip" }],
  ["a large document, not compressed", "/api/v1/pods/default/large", { "accept-encoding": "gzip;q=0" }],
  [
    "a small document whose client accepts compression",
    "/api/v1/pods/web-0",
    { "accept-encoding": "gzip, br" },
  ],
  ["a document with the token", "/api/v1/pods/web-0", { authorization: `Bearer ${TOKEN}` }],
  ["a document with another token", "/api/v1/pods/web-0", { authorization: "Bearer another" }],
  ["a document with a request id", "/api/v1/pods/web-0", { "x-request-id": "mine-1" }],
  ["a document for the page", "/api/v1/pods/web-0", { origin: PAGE }],
  ["a document for another page", "/api/v1/pods/web-0", { origin: "https://other.example" }],
  ["a document under another name of this machine", "/api/v1/pods/web-0", { host: "LOCALHOST:3000" }],
  ["a document at another host", "/api/v1/pods/web-0", { host: "page.example" }],
  ["a document that the client already has", "/api/v1/pods/web-0", { "if-none-match": '"2"' }],
  ["a document that has changed", "/api/v1/pods/web-0", { "if-match": '"1"' }],
  [
    "a document with a precondition that is not supported",
    "/api/v1/pods/web-0",
    { "if-unmodified-since": "Mon, 23 Nov 2026 00:00:00 GMT" },
  ],
  ["a document on a connection that is about to end", "/api/v1/pods/web-0", { connection: "close" }],
  ["a missing document", "/api/v1/pods/default/nobody"],
  ["a document in a reserved bucket", "/api/v1/checkpoints/web-0"],
  ["an invalid bucket", "/api/v1/Pods/web-0"],
  ["an address with dot segments", "/api/v1/pods/a/%2e%2e/b"],
  ["a name that is too long", `/api/v1/pods/${"x".repeat(1_025)}`],
  ["an address that is too long", `/api/v1/pods/${"x".repeat(15_000)}`],
];

async function served(options: Parameters<typeof serve>[0]): Promise<ServedNode> {
  const one = await serve(options);
  await one.node.submit({ ops: [["put", "pods", "default/web-0", { image: "nginx" }]] });
  await one.node.submit({ ops: [["put", "pods", "default/grüße", "·-·"]] });
  // With its line break, the document is just large enough to be compressed on request.
  await one.node.submit({ ops: [["put", "pods", "default/large", "x".repeat(4_093)]] });
  return one;
}

/** Returns a response without the headers that differ between any two responses. */
function comparable({ status, headers, text: body }: RawAnswer, given: Headers): object {
  const { date: _, "x-request-id": id, ...rest } = headers;
  return { status, body, ...rest, id: given["x-request-id"] === undefined ? typeof id : id };
}

/**
 * Requests documents of the namespace `default` ahead of the responses, and closes the server while it reads the first
 * one. Returns the status of each response, and whether the response announces the end of the connection.
 */
async function answersWhileClosing(
  names: readonly string[],
  { absentAtFirst = false } = {},
): Promise<[status: string, isLast: boolean][]> {
  const one = await served({ closeTimeoutMs: NEVER });
  const gate = new EventEmitter();
  const get = one.node.get.bind(one.node);
  let asked = 0;
  one.node.get = async (key, options) => {
    asked += 1;
    const isAbsent = absentAtFirst && asked === 1;
    if (asked === 1) await once(gate, "open");
    return isAbsent ? undefined : await get(key, options);
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

describe.each(SERVERS)("on a server %s", (_, options) => {
  it.each(REQUESTS)(
    "a request for %s has the same response as with a parameter",
    async (_what, path, headers = {}) => {
      await using one = await served(options);
      const plain = await one.raw("GET", path, { headers });
      // A request with a parameter, even with its default value, passes through the routes.
      const routed = await one.raw("GET", `${path}?stale=false`, { headers });
      expect(comparable(plain, headers)).toEqual(comparable(routed, headers));
      await vi.waitFor(() => expect(one.answered).toHaveLength(2));
      const [first, second] = one.answered.map(({ seconds, ...answered }) => {
        expect(seconds).toBeGreaterThan(0);
        return answered;
      });
      expect(first).toEqual(second);
    },
  );
});

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

  it("ends with a document that appears after its first read", async () => {
    expect(await answersWhileClosing(["web-0", "web-0"], { absentAtFirst: true })).toEqual([["200", true]]);
  });
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
  socket.write(
    `${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  );
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
