import { once } from "node:events";
import { Agent, type IncomingMessage, request as plainRequest } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

const TLS = { cert: fixture("server"), key: fixture("server-key") };

/** Returns the path of a certificate or a key of the tests of NATS. */
function fixture(name: string): string {
  return fileURLToPath(new URL(`../../../log-nats/test/fixtures/${name}.pem`, import.meta.url));
}

function request(line: string, ...headers: string[]): string {
  return [`${line} HTTP/1.1`, "Host: localhost", ...headers, "", ""].join("\r\n");
}

/** The number of connections of clients that await each response. */
const CONNECTIONS = 8;

const PUT = `${request("PUT /api/v1/pods/second", "Content-Length: 1")}1`;
const WAITING_READ = request("GET /api/v1/tx/2?timeout=PT1H");

function open({ server }: ServedNode, isEncrypted = false): Socket {
  const socket = isEncrypted
    ? connectTls({ host: "127.0.0.1", port: server.port, rejectUnauthorized: false })
    : connect(server.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** Returns the status of each response, and whether it announces the end of the connection. */
function answersIn(received: string): [string, boolean][] {
  return received
    .split("HTTP/1.1 ")
    .slice(1)
    .map((answer) => [answer.slice(0, 3), /^connection: close\r$/im.test(answer)]);
}

describe.each([false, true])(
  "a request that arrives before the one before it was answered (TLS: %s)",
  (isEncrypted) => {
    const options = isEncrypted ? { tls: TLS } : {};

    it.each([
      ["a read", request("GET /api/v1/pods/nobody"), "404"],
      [
        "a request that is refused after its body",
        `${request("PUT /api/v1/pods/x", "Content-Length: 1")}{`,
        "400",
      ],
      ["a write", `${request("PUT /api/v1/pods/x", "Content-Length: 1")}1`, "201"],
    ])("is not processed, and the connection ends: after %s", async (_, first, status) => {
      await using served = await serve(options);
      const socket = open(served, isEncrypted);
      socket.write(first + PUT + PUT + request("GET /health/live"));
      expect(answersIn(await text(socket))).toEqual([[status, true]]);
      const written = served.node.submitted.flatMap(({ ops }) => ops.map((op) => op[2]));
      expect(written).not.toContain("default/second");
    });

    it("is not processed however long it waits", async () => {
      await using served = await serve(options);
      const socket = open(served, isEncrypted);
      const received = text(socket);
      socket.write(WAITING_READ);
      await vi.waitFor(() => expect(served.node.waiting).toBe(1));
      await new Promise((resolve) => socket.write(PUT, resolve));
      await served.fetch("/health/live").catch(() => undefined);
      for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await served.node.submit({ ops: [["delete", "pods", "x"]] });
      expect(answersIn(await received)).toEqual([["200", true]]);
      expect(served.node.submitted).toHaveLength(1);
    });

    it("ends the connection after a response whose head was sent without notice", async () => {
      const node = new MemoryNode();
      const gate = new AbortController();
      node.watched = async function* () {
        yield [{ type: "heartbeat", txId: 1, txTime: null, behind: 0 } as never];
        await once(gate.signal, "abort");
      };
      await using served = await serve({ node, ...options });
      const socket = open(served, isEncrypted);
      let received = "";
      socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
      const ended = new Promise((resolve) => socket.once("end", resolve));
      socket.write(request("GET /api/v1/watch"));
      await vi.waitFor(() => expect(received).toContain("heartbeat"));
      await new Promise((resolve) => socket.write(PUT, resolve));
      for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      gate.abort();
      await ended;
      expect(answersIn(received)).toEqual([["200", false]]);
      expect(node.submitted).toEqual([]);
    });

    it("is not read any further, whatever its client sends", async () => {
      await using served = await serve(options);
      const socket = open(served, isEncrypted);
      const received = text(socket);
      socket.write(WAITING_READ);
      await vi.waitFor(() => expect(served.node.waiting).toBe(1));
      const padded = request("DELETE /api/v1/pods/x", `X-Padding: ${"x".repeat(15_000)}`);
      for (let count = 0; count < 500; count += 1)
        await new Promise((resolve) => socket.write(padded, resolve));
      await served.node.submit({ ops: [["put", "pods", "x", 1]] });
      expect(answersIn(await received)).toEqual([["200", true]]);
      expect(served.node.submitted).toHaveLength(1);
    });

    it("is never one of a client that awaits each response on its kept connection", async () => {
      await using served = await serve(options);
      await served.node.submit({ ops: [["put", "pods", "default/large", "x".repeat(300_000)]] });
      const sockets = new Set<unknown>();
      const kept = { keepAlive: true, maxSockets: CONNECTIONS };
      const agent = isEncrypted ? new TlsAgent({ ...kept, rejectUnauthorized: false }) : new Agent(kept);
      onTestFinished(() => agent.destroy());
      const { port } = served.server;
      const paths = ["/api/v1/pods/large", "/health/live", "/api/v1/pods/nobody", "/api/v1/pods?limit=1"];
      const read = async (path = ""): Promise<void> => {
        const answer = await new Promise<IncomingMessage>((resolve, reject) => {
          (isEncrypted ? tlsRequest : plainRequest)({ agent, port, host: "127.0.0.1", path }, resolve)
            .once("error", reject)
            .end();
        });
        sockets.add(answer.socket);
        await text(answer);
      };
      const client = async (): Promise<void> => {
        for (let count = 0; count < 40; count += 1) await read(paths[count % paths.length]);
      };
      await Promise.all(Array.from({ length: CONNECTIONS }, client));
      expect(sockets.size).toBe(CONNECTIONS);
    });
  },
);

it("a request that arrives while the whole response before it is on its way is carried out after that", async () => {
  await using served = await serve();
  // The sockets' own buffers contain a part of this, but not all.
  const json = JSON.stringify("x".repeat(1 << 25));
  const { node } = served;
  const get = node.get.bind(node);
  node.get = async (key, options) =>
    key.name === "large" ? { ...key, revision: 1, json } : await get(key, options);
  const socket = open(served);
  socket.write(request("GET /api/v1/pods/large"));
  await new Promise((resolve) => socket.once("readable", resolve));
  await new Promise((resolve) => socket.write(PUT, resolve));
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(node.submitted).toEqual([]);
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  await vi.waitFor(
    () =>
      expect(answersIn(received)).toEqual([
        ["200", false],
        ["201", false],
      ]),
    10_000,
  );
  expect(node.submitted).toHaveLength(1);
});
