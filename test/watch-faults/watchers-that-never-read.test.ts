import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { NodeProcess } from "@cairn/test-support/cairn-process";
import { positionAt } from "@cairn/test-support/nodes/positions";

/**
 * The number of watchers, large enough that serving each of them once takes longer than the limit; 800 watchers and 60
 * MB were measured.
 */
const WATCHERS = Number(process.env["CAIRN_WATCHERS"] ?? "200");
const TRANSACTIONS = Number(process.env["CAIRN_WATCHED_TRANSACTIONS"] ?? "20000");
const DOCUMENT_BYTES = 500;
const FIRST_EVENT_MS = 1_000;

/** A few watchers and transactions, which are still more than the buffers of a connection hold. */
const FEW_WATCHERS = 20;
const FEW_TRANSACTIONS = 5_000;

let folder = "";
let node: NodeProcess;
let url = new URL("http://127.0.0.1");
const sockets: Socket[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-fair-"));
  node = NodeProcess.start({ id: "fair", dir: folder });
  await node.ready();
  url = new URL(await node.url());
  await write(0, FEW_TRANSACTIONS);
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});
afterAll(async () => {
  await node.kill();
  await rm(folder, { recursive: true, force: true });
});

/** Writes documents with the numbers `from` to `to`, in a transaction each. */
async function write(from: number, to: number): Promise<void> {
  const text = "x".repeat(DOCUMENT_BYTES);
  for (let first = from; first < to; first += 5_000) {
    const lines = Array.from({ length: Math.min(5_000, to - first) }, (_, n) =>
      JSON.stringify({ ops: [["put", "things", `default/k${first + n}`, text]] }),
    );
    const answer = await fetch(new URL("/api/v1/tx/batch?await=true", url), {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
    if (!answer.ok) throw new Error(await answer.text());
  }
}

/** Opens a watch without reading its response. */
async function openUnreadWatch(txId: number): Promise<void> {
  const from = await positionAt(url, txId);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: url.hostname, port: Number(url.port) }, resolve);
    sockets.push(socket);
    socket.pause();
    socket.once("error", reject);
    socket.write(`GET /api/v1/watch?from=${from} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
  });
}

/** How long a new watcher waited for its first event, for its first transaction and for all transactions. */
interface WatchTimes {
  readonly firstMs: number;
  readonly firstTxMs: number;
  readonly allMs: number;
}

/** Watches until `count` transactions have been received. */
async function timeWatch(txId: number, count: number): Promise<WatchTimes> {
  const from = await positionAt(url, txId);
  const begun = performance.now();
  const leave = new AbortController();
  const answer = await fetch(new URL(`/api/v1/watch?from=${from}`, url), { signal: leave.signal });
  if (answer.body === null) throw new Error("no stream");
  let firstMs = 0;
  let firstTxMs = 0;
  let seen = 0;
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    if (firstMs === 0) firstMs = performance.now() - begun;
    seen += chunk.split("event: tx").length - 1;
    if (seen > 0 && firstTxMs === 0) firstTxMs = performance.now() - begun;
    if (seen >= count) break;
  }
  leave.abort();
  return { firstMs, firstTxMs, allMs: performance.now() - begun };
}

/** Opens watches from `from(n)` that are never read, and expects that new watchers receive events in time. */
async function expectPromptEvents(
  watchers: number,
  transactions: number,
  from: (n: number) => number,
): Promise<void> {
  const alone = await timeWatch(0, transactions / 2);
  await Promise.all(Array.from({ length: watchers }, (_, n) => openUnreadWatch(from(n))));
  const crowded = [];
  for (let n = 0; n < 5; n += 1) crowded.push(await timeWatch(n, 500));
  if (process.env["CAIRN_WATCHERS"] !== undefined) console.log({ alone, crowded });
  // The median, since a busy machine may pause once.
  expect(median(crowded.map(({ firstMs }) => firstMs))).toBeLessThan(FIRST_EVENT_MS);
  expect(median(crowded.map(({ firstTxMs }) => firstTxMs))).toBeLessThan(FIRST_EVENT_MS);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

describe("a new watcher among others that never read", () => {
  it("receives an event within a second", { tags: "rest/slow" }, async () => {
    await expectPromptEvents(FEW_WATCHERS, FEW_TRANSACTIONS, () => 0);
  });

  describe("and are many", { tags: "rest/slow" }, () => {
    beforeAll(async () => await write(FEW_TRANSACTIONS, TRANSACTIONS));

    it("receives an event within a second if all others began at the same transaction", async () => {
      await expectPromptEvents(WATCHERS, TRANSACTIONS, () => 0);
    });

    it("receives an event within a second if all others began at different transactions", async () => {
      await expectPromptEvents(WATCHERS, TRANSACTIONS, (n) => (n * 97) % (TRANSACTIONS / 2));
    });
  });
});
