import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CairnClient } from "@cairn/client";
import type { CairnNode } from "@cairn/engine";
import { startNode } from "@cairn/node";

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-returned-"));
  node = await startNode({
    "cairn/node": { id: "n", dir: folder },
    "cairn/http-server": { host: "127.0.0.1", port: 0 },
  });
  await node.ready;
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

const overHttp = (): CairnClient => new CairnClient({ urls: node?.url ?? "" });
const inProcess = (): CairnClient => node?.client() as CairnClient;

const STREAMS: readonly (readonly [string, () => AsyncGenerator<unknown, void, void>])[] = [
  ["a watch over HTTP", () => overHttp().watch({ bucket: "quiet" })],
  ["a watch of a bucket over HTTP", () => overHttp().bucket("quiet").watch()],
  ["a copy over HTTP", () => overHttp().follow({ bucket: "quiet" })],
  ["a watch in the process", () => inProcess().watch({ bucket: "quiet" })],
  ["a copy of a bucket in the process", () => inProcess().bucket("quiet").follow()],
];

async function watchers(): Promise<number> {
  const text = await (await fetch(`${node?.url}/metrics`)).text();
  return Number(/^cairn_watchers (\d+)/m.exec(text)?.[1]);
}

describe.each(STREAMS)("%s", (_, open) => {
  it("ends as soon as it is returned, also while it waits for a change", async () => {
    const stream = open();
    // Of a copy, the documents that exist come first.
    const waiting = [stream.next(), stream.next()];
    await expect.poll(watchers).toBe(1);
    expect(await stream.return()).toEqual({ done: true, value: undefined });
    expect((await Promise.all(waiting)).at(-1)).toEqual({ done: true, value: undefined });
    await expect.poll(watchers).toBe(0);
  });

  it("ends when a stream that reads it is destroyed", async () => {
    const stream = Readable.from(open());
    stream.resume();
    await expect.poll(watchers).toBe(1);
    const closed = new Promise((resolve) => stream.once("close", resolve));
    stream.destroy();
    await closed;
    await expect.poll(watchers).toBe(0);
  });
});
