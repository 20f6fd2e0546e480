import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished, vi } from "vitest";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

const LIMIT_MS = 300;
const WAITING_READ = request("GET /api/v1/pods/none?min-tx=2&timeout=PT1H");

function request(line: string, ...headers: string[]): string {
  return [`${line} HTTP/1.1`, "Host: localhost", ...headers, "", ""].join("\r\n");
}

function open({ server }: ServedNode): Socket {
  const socket = connect(server.port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  return socket;
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

it("a request that takes long does not end its connection after an earlier response", async () => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS, goneAfterMs: LIMIT_MS / 3 });
  const socket = open(served);
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.write(request("GET /health/live"));
  await vi.waitFor(() => expect(statuses(received)).toEqual(["200"]));
  socket.write(WAITING_READ);
  await vi.waitFor(() => expect(served.node.waiting).toBe(1));
  await limitPassed(served);
  await served.put("/api/v1/pods/x", 1);
  await vi.waitFor(() => expect(statuses(received)).toEqual(["200", "404"]));
  socket.write(request("GET /health/live"));
  await vi.waitFor(() => expect(statuses(received)).toEqual(["200", "404", "200"]));
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
