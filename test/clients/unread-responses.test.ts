// @module-tag rest/slow
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { get as httpGet, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";

const DOCUMENTS = 10;
const DOCUMENT_BYTES = 900_000;
const LIST = "/api/v1/things?limit=1000";
const DOCUMENT = "/api/v1/things/default/d0";
const BUCKETS = "/api/v1/buckets";
const FIELDS = Array.from({ length: 16 }, (_, n) => `field${n}`);
/** So many values of a field as GET /api/v1/buckets shows: 64 KiB. */
const VALUES = 64;
/** Four times what a node may hold for responses, because each is held as text and as bytes, and Node needs memory. */
const MAX_GROWTH_BYTES = 256 * 1024 * 1024;
/** Makes the garbage collector remove what nobody holds; with a larger heap it may let hundreds of megabytes wait. */
const HEAP = { NODE_OPTIONS: "--max-old-space-size=224" };
/** Less than the minute after which the node gives up clients that receive nothing, and long for a busy machine. */
const PATIENCE_MS = 30_000;

interface Victim {
  readonly node: NodeProcess;
  readonly url: string;
  readonly memoryBefore: number;
}

/** Starts a node whose documents are many times longer than a request for them. */
async function start(): Promise<Victim> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-unread-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const node = NodeProcess.start({ id: "victim", dir, env: HEAP });
  onTestFinished(() => node.kill());
  await node.ready();
  const url = await node.url();
  for (let n = 0; n < DOCUMENTS; n += 1) {
    const body = JSON.stringify("x".repeat(DOCUMENT_BYTES));
    expect((await fetch(`${url}/api/v1/things/default/d${n}`, { method: "PUT", body })).status).toBe(201);
  }
  const policies = { indexes: { counted: FIELDS } };
  const policy = await fetch(`${url}/api/v1/policies`, { method: "PUT", body: JSON.stringify(policies) });
  expect(policy.status).toBe(200);
  for (let n = 0; n < VALUES; n += 1) {
    const body = JSON.stringify(
      Object.fromEntries(FIELDS.map((field) => [field, `${n}`.padEnd(1_000, "x")])),
    );
    expect((await fetch(`${url}/api/v1/counted/default/d${n}`, { method: "PUT", body })).status).toBe(201);
  }
  // What a first list loads and compiles is not part of what responses hold.
  await (await fetch(url + LIST)).text();
  return { node, url, memoryBefore: await peakMemory(node) };
}

/** Returns the largest physical memory that a process has had (bytes). */
async function peakMemory({ pid }: NodeProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Opens a connection that sends requests and never reads. */
function sendUnread({ url }: Victim, requests: string): Socket {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  socket.pause();
  socket.write(requests);
  return socket;
}

/** Sends a request from another address of this machine. */
async function readElsewhere(
  { url }: Victim,
  address: string,
): Promise<{ status: number | undefined; body: string }> {
  const sent = httpGet(url + address, { localAddress: "127.0.0.2", agent: false });
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  return { status: response.statusCode, body: await text(response) };
}

function get(address: string): string {
  return `GET ${address} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

describe.each([
  ["lists", LIST],
  ["documents", DOCUMENT],
  ["buckets", BUCKETS],
])("clients that read no responses (%s)", (_, address) => {
  it.each([
    ["on one connection", 1, 600],
    ["on many connections", 300, 1],
    ["on many connections that send requests ahead", 40, 100],
  ])("neither fill the memory of a node nor keep others waiting (%s)", async (__, connections, requests) => {
    const victim = await start();
    for (let n = 0; n < connections; n += 1) sendUnread(victim, get(address).repeat(requests));
    const deadline = performance.now() + 2_000;
    while (performance.now() < deadline) {
      const alive = await fetch(`${victim.url}/health/ready`, { signal: AbortSignal.timeout(PATIENCE_MS) });
      expect(alive.status).toBe(200);
      const written = await fetch(`${victim.url}/api/v1/things/default/small`, { method: "PUT", body: "1" });
      expect(written.status).toBeLessThan(300);
    }
    // Another sender is next, before the many requests that wait already.
    const { status, body } = await readElsewhere(victim, address);
    expect([status, body.length > DOCUMENT_BYTES]).toEqual([200, true]);
    expect((await peakMemory(victim.node)) - victim.memoryBefore).toBeLessThan(MAX_GROWTH_BYTES);
  });
});

it("a small document is read at once while a large one waits for memory", async () => {
  const { url, ...victim } = await start();
  const things = `${url}/api/v1/things/default`;
  expect((await fetch(`${things}/small`, { method: "PUT", body: "1" })).status).toBe(201);
  for (let n = 0; n < 12; n += 1) sendUnread({ url, ...victim }, get(LIST));
  const statusOf = async (name: string): Promise<number> =>
    (await fetch(`${things}/${name}timeout=PT0.5S`)).status;
  await vi.waitFor(async () => expect(await statusOf("d0?")).toBe(503));
  const read = await Promise.all(["small?", "small?min-tx=1&", "small?stale=true&", "absent?"].map(statusOf));
  expect([...read, await statusOf("d0?")]).toEqual([200, 200, 200, 404, 503]);
});

it("a list gets the memory of a client that has not read its response for 10 s", async () => {
  const victim = await start();
  for (let n = 0; n < 12; n += 1) sendUnread(victim, get(LIST));
  const refused = await vi.waitFor(async () => {
    const response = await fetch(`${victim.url}${LIST}&timeout=PT0.5S`);
    const body = (await response.json()) as { error?: { code: string } };
    expect(response.status).toBe(503);
    return body;
  });
  expect(refused).toMatchObject({ error: { code: "OVERLOADED" } });
  const answered = await fetch(victim.url + LIST);
  expect([answered.status, ((await answered.json()) as unknown[]).length]).toEqual([200, DOCUMENTS]);
  expect(victim.node.output()).toContain("have not received their responses within 10 s");
});
