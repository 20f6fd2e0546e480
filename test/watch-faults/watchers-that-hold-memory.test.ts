import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { positionAt } from "@cairn/test-support/nodes/positions";

/** More watchers than there is memory for: each page has one document, which it holds as text and as bytes. */
const WATCHERS = 160;
const DOCUMENTS = 240;
const DOCUMENT_BYTES = 1_000_000;
/** The transactions after which a watcher that begins among the documents lags behind. */
const SMALL_DOCUMENTS = 1_500;
const MB = 1_000_000;
/** What docs/watch.md promises, and what a node otherwise uses for these requests. */
const PROMISED_BYTES = 320 * MB;

let folder = "";
let node: NodeProcess;
let url = new URL("http://127.0.0.1");
const sockets: Socket[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-held-"));
  node = NodeProcess.start({ id: "held", dir: folder });
  await node.ready();
  url = new URL(await node.url());
  const document = JSON.stringify("x".repeat(DOCUMENT_BYTES));
  const headers = { "content-type": "application/json" };
  for (let n = 0; n < DOCUMENTS; n += 1) {
    const address = new URL(`/api/v1/large/default/k${n}?await=true`, url);
    await expectOk(await fetch(address, { method: "PUT", headers, body: document }));
  }
  const lines = Array.from({ length: SMALL_DOCUMENTS }, (_, n) => `{"ops":[["put","small","k${n}",${n}]]}`);
  await expectOk(
    await fetch(new URL("/api/v1/tx/batch?await=true", url), {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: lines.join("\n"),
    }),
  );
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await node.kill();
  await rm(folder, { recursive: true, force: true });
});

async function expectOk(answer: Response): Promise<void> {
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
}

/** Opens a watch whose response is never read. */
async function openUnreadWatch(txId: number): Promise<void> {
  const from = await positionAt(url, txId);
  const socket = connect({ host: url.hostname, port: Number(url.port) });
  sockets.push(socket);
  socket.pause();
  socket.once("error", () => undefined);
  socket.write(`GET /api/v1/watch?from=${from} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(new URL("/metrics", url))).text();
  return Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")[1] ?? Number.NaN,
  );
}

/** Watches everything from the beginning until the last transaction, and returns the number of transactions. */
async function watchAll(onStep: () => Promise<void>): Promise<number> {
  const leave = new AbortController();
  const answer = await fetch(new URL("/api/v1/watch?from=0", url), { signal: leave.signal });
  if (answer.body === null) throw new Error("no stream");
  const last = DOCUMENTS + SMALL_DOCUMENTS + 1;
  const end = await positionAt(url, last);
  let seen = 0;
  let rest = "";
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    seen += lines.filter((line) => line === "event: tx").length;
    if (lines.includes(`id: ${end}`)) break;
    await onStep();
  }
  leave.abort();
  return seen + (rest.startsWith("event: tx") ? 1 : 0);
}

describe("watchers that lag behind, hold pages and never read", { tags: "rest/slow" }, () => {
  it("do not fill the memory of a node, and are cut off for one that reads, which receives everything", async () => {
    const before = await metric("process_resident_memory_bytes");
    let peak = 0;
    let measuredAt = 0;
    const measure = async (): Promise<void> => {
      if (performance.now() - measuredAt < 500) return;
      measuredAt = performance.now();
      peak = Math.max(peak, await metric("process_resident_memory_bytes"));
    };
    for (let n = 0; n < WATCHERS; n += 1) await openUnreadWatch(1 + n);
    expect(await watchAll(measure)).toBeGreaterThanOrEqual(DOCUMENTS + SMALL_DOCUMENTS - 1);
    await expect
      .poll(() => metric('cairn_watch_cutoffs_total{reason="slow"}'), { timeout: 60_000, interval: 500 })
      .toBeGreaterThan(0);
    await measure();
    expect(peak - before).toBeLessThan(PROMISED_BYTES);
  });
});
