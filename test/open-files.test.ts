import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { Agent, get } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import { NodeProcess } from "./support/cairn-process.ts";

const OPEN_FILES = 400;
const STRANGERS = 600;
const KEYS = 25;
const DOCUMENT_BYTES = 60_000;

const documentOf = (round: number, key: number): string => `${round}/${key} `.padEnd(DOCUMENT_BYTES, "x");

/** Connections that never say anything. Those that are refused are closed, which is their business. */
async function hold(port: number): Promise<Socket[]> {
  const sockets = Array.from({ length: STRANGERS }, () => connect(port, "127.0.0.1"));
  await Promise.all(
    sockets.map(async (socket) => {
      socket.on("error", () => undefined);
      await Promise.race([once(socket, "connect"), once(socket, "close")]);
    }),
  );
  return sockets;
}

async function putAll(url: string, round: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let key = 0; key < KEYS; key += 1) {
    const body = JSON.stringify({ text: documentOf(round, key) });
    const headers = { "content-type": "application/json", connection: "close" };
    const answer = await fetch(`${url}/api/v1/documents/things/k${key}`, { method: "PUT", body, headers });
    await answer.arrayBuffer();
    statuses.push(answer.status);
  }
  return statuses;
}

/** A request on a connection of its own, as a client that just arrived makes it. */
async function read(url: string, key: number): Promise<unknown> {
  const agent = new Agent({ keepAlive: false });
  const request = get(`${url}/api/v1/documents/things/k${key}`, { agent });
  const [answer] = await once(request, "response");
  return JSON.parse(await text(answer));
}

it("strangers who hold connections take no file from index and log: all puts are taken, nothing is moved aside", async () => {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-open-files-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const node = NodeProcess.start({ id: "limited", dir, openFiles: OPEN_FILES });
  onTestFinished(() => node.kill());
  await node.ready();
  const url = await node.url();
  expect(await putAll(url, 0)).toEqual(Array.from({ length: KEYS }, () => 201));

  const strangers = await hold(Number(new URL(url).port));
  for (let round = 1; round <= 4; round += 1) {
    expect(await putAll(url, round)).toEqual(Array.from({ length: KEYS }, () => 200));
  }
  const files = await readdir(`/proc/${node.pid}/fd`);
  expect(files.length).toBeLessThan(OPEN_FILES - 64);
  for (const stranger of strangers) stranger.destroy();

  for (let key = 0; key < KEYS; key += 1) {
    expect(await read(url, key)).toMatchObject({ text: documentOf(4, key) });
  }
  expect(await node.status()).toMatchObject({ phase: "ready", failure: null });
  expect(await readdir(path.join(dir, "limited-index"))).not.toContain("quarantine");
  expect(node.output()).not.toMatch(/INDEX_CORRUPT|INTERNAL|SYSTEM_REFUSED/);
  expect(await readFile(`/proc/${node.pid}/limits`, "utf8")).toMatch(/Max open files\s+400\s+400/);
});
