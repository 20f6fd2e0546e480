import { EventEmitter, once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { CairnError } from "@cairn/kv";
import { describe, expect, test, vi } from "vitest";
import { freePort } from "@cairn/log-nats/testing";
import { connectionLimit, openFilesLimit } from "../src/connections.ts";
import { CHECKPOINT, MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

describe("starting", () => {
  test("on a port that is in use throws PORT_IN_USE, and leaves nothing open", async () => {
    const port = await freePort();
    const other = createServer().listen(port, "127.0.0.1");
    await once(other, "listening");
    await expect(serve({ port })).rejects.toMatchObject({ code: "PORT_IN_USE" });
    other.close();
    await once(other, "close");
    await using served = await serve({ port });
    expect(served.url).toBe(`http://127.0.0.1:${port}`);
  });

  test.each(["203.0.113.7", "no-such-host.invalid"])(
    "on %s, which is not an address of this machine, is refused with CONFIG_INVALID",
    async (host) => {
      await expect(serve({ host })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    },
  );

  test("on all addresses returns an address that can be reached", async () => {
    await using served = await serve({ host: "0.0.0.0" });
    expect(served.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await served.fetch("/health/live")).status).toBe(200);
  });
});

describe("health", () => {
  test("is live in every phase, and ready only if the node is", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    for (const phase of ["restoring", "replaying", "stopping", "failed", "ready"] as const) {
      node.phase = phase;
      expect((await served.fetch("/health/live")).status).toBe(200);
      expect((await served.fetch("/health/ready")).status).toBe(phase === "ready" ? 200 : 503);
      expect(await (await served.fetch("/status")).json()).toMatchObject({ phase });
    }
  });

  test("does not wait for a status, which queries the log", async () => {
    const node = new MemoryNode();
    node.phase = "restoring";
    node.status = () => new Promise(() => undefined);
    await using served = await serve({ node });
    expect((await served.fetch("/health/ready")).status).toBe(503);
  });

  test("shows the progress of a restore, and why a node failed", async () => {
    const node = new MemoryNode();
    await using served = await serve({ node });
    node.phase = "restoring";
    node.progress = { unit: "bytes", done: 5, total: 10, etaMs: 900 };
    expect(await (await served.fetch("/health/ready")).json()).toMatchObject({
      error: { code: "NOT_READY", message: expect.stringContaining("5 of 10 bytes") },
      phase: "restoring",
      progress: node.progress,
    });
    node.phase = "failed";
    const retrying = { retries: true, nextTryAt: null };
    node.failure = {
      code: "LOG_DIFFERENT",
      message: "Another log.",
      hint: "Check the address.",
      ...retrying,
    };
    expect(await (await served.fetch("/health/ready")).json()).toMatchObject({
      error: { code: "NOT_READY", hint: "Check the address." },
      failure: { code: "LOG_DIFFERENT" },
    });
  });
});

describe("checkpoints over HTTP", () => {
  test("are verified, either the newest or a named one", async () => {
    await using served = await serve();
    for (const name of ["newest", CHECKPOINT.name]) {
      const answer = await served.fetch(`/api/v1/checkpoints/${name}/verify`, { method: "POST" });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ name: CHECKPOINT.name, digest: "sha256:00" });
    }
    const missing = await served.fetch("/api/v1/checkpoints/other/verify", { method: "POST" });
    expect(missing.status).toBe(404);
  });

  test("are listed, and the digest is returned", async () => {
    await using served = await serve();
    expect(await (await served.fetch("/api/v1/checkpoints")).json()).toEqual([
      { ...CHECKPOINT, durationMs: 412, verifiedAt: null, verifiedBy: null, kept: null },
    ]);
    const digest = await served.fetch("/api/v1/digest?min-tx=1");
    expect(await digest.json()).toEqual({ txId: 1, digest: "sha256:00" });
    expect(digest.headers.get("cairn-tx")).toBe("1");
  });

  test("are started with 202, or awaited on request", async () => {
    await using served = await serve();
    expect((await served.fetch("/api/v1/checkpoints", { method: "POST" })).status).toBe(202);
    const made = await served.fetch("/api/v1/checkpoints?await=true", { method: "POST" });
    expect([made.status, await made.json()]).toEqual([200, CHECKPOINT]);
    served.node.checkpointRound = () => ({
      begun: Promise.resolve(),
      done: Promise.resolve({ skipped: "unchanged" }),
    });
    const skipped = await served.fetch("/api/v1/checkpoints?await=true", { method: "POST" });
    expect(await skipped.json()).toEqual({ skipped: "unchanged" });
  });

  test("are refused with CHECKPOINT_RUNNING while one runs, and a later failure does no harm to a client that did not wait", async () => {
    await using served = await serve();
    served.node.checkpointRound = () => {
      const running = Promise.reject(new CairnError("CHECKPOINT_RUNNING", "One runs."));
      return { begun: running, done: running };
    };
    const answer = await served.fetch("/api/v1/checkpoints", { method: "POST" });
    expect([answer.status, await answer.json()]).toMatchObject([
      409,
      { error: { code: "CHECKPOINT_RUNNING" } },
    ]);
    const failing = new CairnError("STORE_FULL", "Full.");
    served.node.checkpointRound = () => ({ begun: Promise.resolve(), done: Promise.reject(failing) });
    expect((await served.fetch("/api/v1/checkpoints", { method: "POST" })).status).toBe(202);
    expect((await served.fetch("/api/v1/checkpoints?await=true", { method: "POST" })).status).toBe(507);
  });
});

/** A time limit (ms) that no test reaches. */
const NEVER = 600_000;

function put(name: string): string {
  return `PUT /api/v1/pods/${name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1`;
}

async function refused(served: ServedNode): Promise<void> {
  await vi.waitFor(() => expect(served.fetch("/health/live")).rejects.toThrow("fetch failed"));
}

describe.each([
  ["bytes that are not HTTP", "\u0016\u0003\u0001\r\n\r\n", "400"],
  ["CONNECT", "CONNECT example.net:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\n", "400"],
])("%s", (_what, bytes, status) => {
  test("are answered, and the connection closes", async () => {
    await using served = await serve();
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write(bytes);
    const received = await text(socket);
    expect(statusesIn(received)).toEqual([[status, true]]);
    expect(received).toContain('"REQUEST_INVALID"');
  });

  test("end the connection after the request in progress, whose client would take another response for its own", async () => {
    const node = new MemoryNode();
    const gate = new EventEmitter();
    let waiting = 0;
    node.beforeSubmit = async () => {
      waiting += 1;
      await once(gate, "open");
    };
    await using served = await serve({ node });
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write(put("a") + bytes);
    await vi.waitFor(() => expect(waiting).toBe(1));
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    gate.emit("open");
    expect(statusesIn(await text(socket))).toEqual([["201", true]]);
  });
});

describe("closing", () => {
  test("waits for a request in progress, and accepts no new connections", async () => {
    const served = await serve({ closeTimeoutMs: NEVER });
    const waiting = served.fetch("/api/v1/tx/2?timeout=PT20S");
    await vi.waitFor(() => expect(served.node.waiting).toBe(1));
    const closing = served.server.close();
    await refused(served);
    await served.node.submit({ ops: [["delete", "pods", "x"]] });
    expect((await waiting).status).toBe(200);
    await closing;
    await served.server.close();
  });

  test("ends a keep-alive connection as soon as its last response is sent", async () => {
    const served = await serve({ closeTimeoutMs: NEVER });
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write("GET /api/v1/tx/2?timeout=PT20S HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await vi.waitFor(() => expect(served.node.waiting).toBe(1));
    const closing = served.server.close();
    await refused(served);
    await served.node.submit({ ops: [["delete", "pods", "x"]] });
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 [^]*\r\nconnection: close\r\n/i);
    await closing;
  });

  test("responds to the first of the pipelined requests, which is in progress, and begins no later ones", async () => {
    const served = await serve({ closeTimeoutMs: NEVER });
    const socket = connect(served.server.port, "127.0.0.1");
    const read = "GET /api/v1/tx/2?timeout=PT20S HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write(read.repeat(3));
    await vi.waitFor(() => expect(served.node.waiting).toBe(1));
    const closing = served.server.close();
    await refused(served);
    await new Promise((resolve) => socket.write(put("d") + put("e"), resolve));
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await served.node.submit({ ops: [["delete", "pods", "x"]] });
    expect(statusesIn(await text(socket))).toEqual([["200", true]]);
    expect(served.node.submitted).toHaveLength(1);
    await closing;
  });

  test("does not begin a write that waits for the previous one", async () => {
    const node = new MemoryNode();
    const gate = new EventEmitter();
    let waiting = 0;
    node.beforeSubmit = async () => {
      waiting += 1;
      await once(gate, "open");
    };
    const served = await serve({ node, closeTimeoutMs: NEVER });
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write(put("a") + put("b") + put("c"));
    await vi.waitFor(() => expect(waiting).toBe(1));
    const closing = served.server.close();
    await refused(served);
    gate.emit("open");
    expect(statusesIn(await text(socket))).toEqual([["201", true]]);
    expect(node.submitted).toHaveLength(1);
    await closing;
  });

  test("ends a connection whose response had begun once the whole response is sent", async () => {
    const served = await serve({ closeTimeoutMs: NEVER });
    const length = 50_000_000;
    await served.node.submit({ ops: [["put", "pods", "x", "x".repeat(length)]] });
    const socket = connect(served.server.port, "127.0.0.1");
    socket.write("GET /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(socket, "readable");
    const closing = served.server.close();
    await refused(served);
    expect((await text(socket)).length).toBeGreaterThan(length);
    await closing;
  });

  test("ends requests that do not finish in time, and idle connections", async () => {
    const served = await serve({ closeTimeoutMs: 50 });
    const waiting = served.fetch("/api/v1/tx/2?timeout=PT20S").catch((error: unknown) => error);
    const silent = connect(served.server.port, "127.0.0.1");
    await once(silent, "connect");
    await served.fetch("/health/live");
    const ended = once(silent, "close");
    await served.server.close();
    expect(await waiting).toBeInstanceOf(Error);
    await ended;
  });
});

/** Returns the status of each response, and whether it announces the end of the connection. */
function statusesIn(received: string): [string, boolean][] {
  return received
    .split("HTTP/1.1 ")
    .slice(1)
    .map((answer) => [answer.slice(0, 3), /^connection: close\r$/im.test(answer)]);
}

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  // A socket that is not read does not detect that it was closed.
  socket.resume();
  return socket;
}

test("a connection is refused only if every other one is busy, and the server says so", async () => {
  await using served = await serve({ maxConnections: 2 });
  const { port } = served.server;
  const busy = [await sending(port), await sending(port)];
  const another = connect(port, "127.0.0.1");
  another.on("error", () => undefined);
  await once(another, "close");
  expect(served.refused).toEqual([
    { code: "OVERLOADED", message: expect.stringMatching(/^All connections .* in progress \(2\)\.$/) },
  ]);
  expect(served.warned).toEqual([]);
  for (const socket of busy) socket.destroy();
});

test.each([
  [undefined, undefined],
  [1_048_576, 838_732],
  [1_024, 691],
  [400, 192],
  [64, 16],
  [1, 1],
])("a process that may have %s files open may have %s connections", (openFiles, connections) => {
  expect(connectionLimit(openFiles)).toBe(connections);
});

test("the limit on open files of this process can be read", () => {
  expect(openFilesLimit()).toBeGreaterThan(0);
});

/** Opens a connection with a request that is in progress until the connection is closed. */
async function sending(port: number): Promise<Socket> {
  const socket = await connected(port);
  socket.write(
    "PUT /api/v1/pods/default/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
  );
  expect(String((await once(socket, "data"))[0])).toContain("100 Continue");
  return socket;
}

test("a new connection replaces the oldest idle one, never a busy one", async () => {
  await using served = await serve({ maxConnections: 3 });
  const { port } = served.server;
  const busy = await sending(port);
  const oldest = await connected(port);
  const younger = await connected(port);
  const closed = once(oldest, "close");
  expect((await served.raw("GET", "/health/live")).status).toBe(200);
  await closed;
  expect(busy.destroyed).toBe(false);
  expect(younger.destroyed).toBe(false);
  expect(served.warned).toMatchObject([{ fields: { connections: 3 } }]);
  expect(served.refused).toEqual([]);
  busy.destroy();
  younger.destroy();
});
