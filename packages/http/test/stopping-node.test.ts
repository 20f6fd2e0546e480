import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-stopping-"));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function start(): Promise<CairnNode> {
  const node = await startNode(
    { "cairn/node": { id: "n1", dir: folder }, "cairn/http-server": { port: 0 } },
    { env: {}, cwd: folder },
  );
  await node.ready;
  return node;
}

/** Writes documents `{name}-0`, `{name}-1` and so on, each after the response before it, until the connection ends. */
class Writer {
  readonly name: string;
  /** Everything received, once the connection has ended. */
  readonly answered: Promise<string>;

  constructor(port: number, name: string) {
    this.name = name;
    const socket = connect(port, "127.0.0.1");
    let answered = "";
    let count = 0;
    const write = (): void => {
      socket.write(
        `PUT /api/v1/pods/${name}-${count} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1`,
      );
      count += 1;
    };
    socket.on("data", (chunk: Buffer) => {
      answered += chunk.toString("latin1");
      if (answered.endsWith("}\n")) write();
    });
    // A write may fail when the connection ends.
    socket.on("error", () => undefined);
    this.answered = new Promise((resolve) => socket.once("close", () => resolve(answered)));
    write();
  }
}

describe("a node that drains", () => {
  it("still responds, reports that it is not ready, and closes each connection after its response", async () => {
    const node = await startNode(
      { "cairn/node": { id: "n1", dir: folder }, "cairn/http-server": { port: 0, drain: "PT1S" } },
      { env: {}, cwd: folder },
    );
    await node.ready;
    const url = node.url ?? "";
    const begin = performance.now();
    const closed = node.close();
    expect((await fetch(`${url}/health/ready`)).status).toBe(503);
    expect(await (await fetch(`${url}/status`)).json()).toMatchObject({ phase: "stopping" });
    const written = await fetch(`${url}/api/v1/pods/x`, { method: "PUT", body: "1" });
    const read = await fetch(`${url}/api/v1/pods/x`);
    expect([written.status, read.status, await read.json()]).toEqual([201, 200, 1]);
    for (const { headers } of [written, read]) expect(headers.get("connection")).toBe("close");
    await closed;
    expect(performance.now() - begin).toBeGreaterThanOrEqual(1_000);
    await expect(fetch(`${url}/health/live`)).rejects.toThrow("fetch failed");
  });
});

describe("a node that stops under a continuous stream of requests", () => {
  it("executes no request without a response, and confirms everything that it stores", async () => {
    const node = await start();
    const port = Number(new URL(node.url ?? "").port);
    const writers = Array.from({ length: 16 }, (_, n) => new Writer(port, `w${n}`));
    await vi.waitFor(async () => expect((await node.status()).index.documents).toBeGreaterThan(200));
    const begunAt = performance.now();
    await node.close();
    expect(performance.now() - begunAt).toBeLessThan(60_000);
    const answered = new Set<string>();
    for (const { name, answered: all } of writers) {
      for (const [index, answer] of (await all).split("HTTP/1.1 ").slice(1).entries()) {
        const isStored = answer.startsWith("201") || answer.includes('"txId":');
        if (isStored) answered.add(`${name}-${index}`);
        else expect(answer).toMatch(/^503 /);
      }
    }
    const again = await start();
    try {
      const stored: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await again.list({
          bucket: "pods",
          limit: 1_000,
          ...(cursor === undefined ? {} : { cursor }),
        });
        stored.push(...page.documents.map((document) => document.name));
        cursor = page.cursor;
      } while (cursor !== undefined);
      expect(stored.length).toBeGreaterThan(200);
      expect(stored.filter((name) => !answered.has(name))).toEqual([]);
      expect([...answered].filter((name) => !stored.includes(name))).toEqual([]);
    } finally {
      await again.close();
    }
  });
});
