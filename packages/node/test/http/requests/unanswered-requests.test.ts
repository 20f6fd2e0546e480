import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished, vi } from "vitest";
import { MemoryNode } from "../memory-node.ts";
import { serve, type ServedNode } from "../served-node.ts";

const LIMIT_MS = 300;
/** The transaction for which reads wait. */
const AWAITED = 2;
const WAITING_READ = request(`GET /api/v1/pods/none?min-tx=${AWAITED}&timeout=PT1H`);

/** Nearly the largest header that a node accepts, so that few requests fill the buffers of sockets. */
const PADDING = `X-Padding: ${"x".repeat(15_000)}`;
const PADDED_READ = request(`GET /api/v1/pods/none?min-tx=${AWAITED}&timeout=PT1H`, PADDING);

const TLS = { cert: fixture("server"), key: fixture("server-key") };

/** Returns the path of a certificate or a key of the tests of NATS. */
function fixture(name: string): string {
  return fileURLToPath(new URL(`../../log/nats/fixtures/${name}.pem`, import.meta.url));
}

function request(line: string, ...headers: string[]): string {
  return [`${line} HTTP/1.1`, "Host: localhost", ...headers, "", ""].join("\r\n");
}

function open({ server }: ServedNode): Socket {
  const socket = connect(server.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  return socket;
}

function encrypted({ server }: ServedNode): Socket {
  const socket = connectTls({ host: "127.0.0.1", port: server.port, rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** Writes a request `count` times, one after another, as fast as the node reads them. Returns the number of those sent. */
function sendMany(socket: Socket, one: string, count: number): () => number {
  let sent = 0;
  const next = (): void => {
    sent += 1;
    if (sent < count) socket.write(one, next);
  };
  socket.write(one, next);
  return () => sent;
}

/** Waits until a value does not change any more while this process serves many other requests. Returns the value. */
async function settled(value: () => number): Promise<number> {
  await using other = await serve();
  for (;;) {
    const before = value();
    for (let round = 0; round < 50; round += 1) await other.fetch("/health/live");
    if (before > 0 && value() === before) return before;
  }
}

function statuses(received: string): string[] {
  return received
    .split("HTTP/1.1 ")
    .slice(1)
    .map((answer) => answer.slice(0, 3));
}

/** Waits until the limit has passed for every request that began before the call. */
async function limitPassed(served: ServedNode): Promise<void> {
  const later = open(served);
  later.write(request("PUT /api/v1/pods/later", "Content-Length: 9"));
  expect(await text(later)).toMatch(/^HTTP\/1\.1 408 /);
}

it.each([false, true])(
  "a connection whose reads wait is not read any further, and all of them are answered in the end (TLS: %s)",
  async (isEncrypted) => {
    await using served = await serve(isEncrypted ? { tls: TLS } : {});
    const socket = isEncrypted ? encrypted(served) : open(served);
    const received = text(socket);
    // The sockets' own buffers contain many of these requests, but not all.
    const count = 2000;
    const sent = sendMany(socket, PADDED_READ, count);
    expect(await settled(sent)).toBeLessThan(count / 2);
    expect(served.node.waiting).toBe(1);
    await served.node.submit({ ops: [["put", "pods", "x", 1]] });
    await vi.waitFor(() => expect(sent()).toBe(count), 30_000);
    socket.write(request("GET /health/live", "Connection: close"));
    const answered = statuses(await received);
    expect([answered.length, answered.at(-1)]).toEqual([count + 1, "200"]);
    expect(new Set(answered.slice(0, -1))).toEqual(new Set(["404"]));
  },
);

async function expectAllAnswered(count: number): Promise<void> {
  await using served = await serve({ tls: TLS });
  const socket = encrypted(served);
  const received = text(socket);
  socket.write(
    request("GET /api/v1/pods/none").repeat(count) + request("GET /health/live", "Connection: close"),
  );
  const answered = statuses(await received);
  expect([answered.length, answered.at(-1)]).toEqual([count + 1, "200"]);
}

it("requests over TLS are all answered although their responses pile up", async () => {
  await expectAllAnswered(1000);
});

it("thousands of requests over TLS are all answered", { tags: "rest/slow" }, async () => {
  await expectAllAnswered(5000);
});

it("a connection whose writes wait for the log is not read any further, and all of them are executed in the end", async () => {
  const node = new MemoryNode();
  await using served = await serve({ node });
  const gate = new AbortController();
  const opened = once(gate.signal, "abort").then(() => undefined);
  node.beforeSubmit = () => opened;
  const socket = open(served);
  const received = text(socket);
  // The sockets' own buffers contain many of these requests, but not all.
  const count = 2000;
  const padded = request("DELETE /api/v1/pods/x", PADDING);
  const sent = sendMany(socket, padded, count);
  expect(await settled(sent)).toBeLessThan(count / 2);
  gate.abort();
  await vi.waitFor(() => expect(node.submitted).toHaveLength(count), 30_000);
  socket.write(request("GET /health/live", "Connection: close"));
  expect(new Set(statuses(await received))).toEqual(new Set(["200"]));
  expect(node.submitted).toHaveLength(count);
});

it.each([
  ["headers", "", "Content-Length: 1\r\n\r\n1"],
  ["body", "Content-Length: 3\r\n\r\n1", "23"],
])("a request whose %s the node has not read in time is not refused", async (_, begin, rest) => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS });
  const socket = open(served);
  const received = text(socket);
  socket.write(`${WAITING_READ.repeat(150)}PUT /api/v1/pods/y HTTP/1.1\r\nHost: localhost\r\n${begin}`);
  await settled(() => served.node.waiting);
  await limitPassed(served);
  socket.write(rest + request("GET /health/live", "Connection: close"));
  await served.put("/api/v1/pods/x", 1);
  expect(statuses(await received).slice(149)).toEqual(["404", "201", "200"]);
});

it("a request that stays incomplete after the node reads again is refused", async () => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS });
  const socket = open(served);
  const received = text(socket);
  socket.write(`${WAITING_READ.repeat(150)}PUT /api/v1/pods/y HTTP/1.1\r\nHost: localhost\r\n`);
  await settled(() => served.node.waiting);
  await limitPassed(served);
  await served.put("/api/v1/pods/x", 1);
  expect(statuses(await received).slice(149)).toEqual(["404", "408"]);
});

it.each([
  [
    "a document",
    "Content-Type: application/json",
    JSON.stringify("x".repeat(600_000)),
    "/api/v1/pods/y",
    "PUT",
    "201",
  ],
  [
    "a batch",
    "Content-Type: application/x-ndjson",
    `${JSON.stringify({ ops: [["put", "pods", "default/y", "x".repeat(1000)]] })}\n`.repeat(600),
    "/api/v1/tx/batch",
    "POST",
    "202",
  ],
])(
  "%s that arrived in time, but whose body the node reads later, is not refused",
  async (_, type, body, address, method, expected) => {
    await using served = await serve({ requestTimeoutMs: LIMIT_MS });
    const socket = open(served);
    const received = text(socket);
    const write = request(`${method} ${address}`, type, `Content-Length: ${body.length}`);
    socket.write(WAITING_READ + write + body + request("GET /health/live", "Connection: close"));
    await settled(() => served.node.waiting);
    await limitPassed(served);
    await served.put("/api/v1/pods/x", 1);
    expect(statuses(await received)).toEqual(["404", expected, "200"]);
  },
);

it("a request that stays incomplete after the node has begun it is refused", async () => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS });
  const socket = open(served);
  const received = text(socket);
  socket.write(`${WAITING_READ}${request("PUT /api/v1/pods/y", "Content-Length: 3")}1`);
  await settled(() => served.node.waiting);
  await limitPassed(served);
  await served.put("/api/v1/pods/x", 1);
  expect(statuses(await received)).toEqual(["404", "408"]);
});

it("a connection that is not read ends if its client has gone or nothing is answered for a while", async () => {
  await using served = await serve({ goneAfterMs: LIMIT_MS });
  const socket = open(served);
  socket.write(WAITING_READ.repeat(150));
  await once(socket, "close");
  await served.put("/api/v1/pods/x", 1);
  await vi.waitFor(() => expect(served.node.waiting).toBe(0));
});

it("a request that takes long does not end its connection after an earlier response", async () => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS, goneAfterMs: LIMIT_MS / 3 });
  const socket = open(served);
  const received = text(socket);
  socket.write(request("GET /health/live") + WAITING_READ + request("GET /health/live", "Connection: close"));
  await settled(() => served.node.waiting);
  await limitPassed(served);
  await served.put("/api/v1/pods/x", 1);
  expect(statuses(await received)).toEqual(["200", "404", "200"]);
});

it("a connection whose responses are not read ends", { tags: "rest/slow" }, async () => {
  const node = new MemoryNode();
  // The sockets' own buffers contain a part of this, but not all.
  const json = JSON.stringify("x".repeat(1 << 25));
  node.get = (key) => Promise.resolve({ ...key, revision: 1, json });
  await using served = await serve({ node, requestTimeoutMs: LIMIT_MS, goneAfterMs: LIMIT_MS / 3 });
  for (const address of ["/api/v1/pods/web-0", "/api/v1/pods/web-0?stale=false"]) {
    const socket = open(served);
    socket.on("error", () => undefined);
    socket.write(request(`GET ${address}`));
    await once(socket, "readable");
    await limitPassed(served);
    socket.resume();
    await once(socket, "close");
    expect(socket.bytesRead).toBeLessThan(1 << 25);
  }
});
