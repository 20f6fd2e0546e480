import { type KvStore, memoryProvider } from "@cairn/kv";
import type { TxOperation } from "@cairn/client";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readBuckets } from "../../../src/index/read/bucket-reads.ts";
import { readHistoryPage, readList } from "../../../src/index/read/document-pages.ts";
import { readQueues } from "../../../src/index/read/queue-reads.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { indexReader } from "../../../src/index/rows/index-rows.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { counterRowKey } from "../../../src/index/rows/row-keys.ts";
import { decodeCounters, encodeCounters } from "../../../src/index/rows/row-values.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import { CountedRounds } from "../support/counted-rounds.ts";

const birth = { log: "log-1", offset: 0 };
const KEYS = 100;
/** A document of this size has a row of its own. */
const TEXT = "x".repeat(200);

let kv: KvStore;
let index: IndexStore;
let position = 0;
beforeEach(async () => {
  kv = await memoryProvider().open("/nonexistent/in-memory");
  const identity = { id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth };
  index = await IndexStore.open(kv, emptyState(identity));
  await index.apply([{ position: 1, time: 1, payload: encodeBirthRecord(birth) }]);
  position = 1;
});
afterEach(async () => await index.close());

async function apply(...ops: TxOperation[]): Promise<void> {
  position += 1;
  await index.apply([{ position, time: position, payload: encodeTransaction({ ops }, birth.log) }]);
}

/** Returns what `read` returns for a counted reader, and the numbers of rounds and reads. */
async function counted<T>(
  read: (reader: ReturnType<typeof indexReader>) => Promise<T>,
): Promise<{ readonly found: T; readonly rounds: number; readonly reads: number }> {
  const counts = new CountedRounds();
  const snapshot = kv.snapshot();
  try {
    const found = await read(indexReader(counts.of(snapshot)));
    return { found, rounds: counts.rounds, reads: counts.reads };
  } finally {
    await snapshot.close();
  }
}

function puts(version: number, text = TEXT): TxOperation[] {
  return Array.from({ length: KEYS }, (_, n) => ["put", "b", `n/${1_000 + n}`, { version, n, text }]);
}

it("a list as of a transaction looks up sixteen changed keys at a time", async () => {
  await apply(...puts(1));
  const past = { txId: position };
  await apply(...puts(2));
  const list = { bucket: "b", limit: KEYS, asOf: past };
  const { found, rounds } = await counted((reader) => readList(reader, index.state, list));
  const listed = found.documents.map(({ json }) => JSON.parse(json) as unknown);
  expect(listed).toEqual(Array.from({ length: KEYS }, (_, n) => ({ version: 1, n, text: TEXT })));
  // Each of seven times, two rounds: for the versions, then for their documents. Five others read the rest.
  expect(rounds).toBe(7 * 2 + 5);
  const filtered = { ...list, where: [{ field: "version", value: "1" }] };
  await apply(["configure", { indexes: { b: ["version"] } }]);
  while (await index.buildFields());
  const byField = await counted((reader) => readList(reader, index.state, filtered));
  expect(byField.found.documents).toEqual(found.documents);
  expect(byField.rounds).toBeLessThanOrEqual(7 * 2 + 16);
});

it("a list as of a transaction looks up no more than a page of changed keys", async () => {
  await apply(...puts(1));
  const past = { txId: position };
  await apply(...puts(2));
  const first = { bucket: "b", limit: 1, asOf: past };
  const { found, reads } = await counted((reader) => readList(reader, index.state, first));
  expect(found.documents.map(({ name }) => name)).toEqual(["1000"]);
  // The current documents of a page of rows are read in any case.
  expect(reads).toBeLessThanOrEqual(KEYS + 2 * 2 + 5);
});

it("a list as of a transaction reads at most 16 MiB of documents before it finds that its page is full", async () => {
  const text = "x".repeat(900_000);
  for (const put of puts(1, text).slice(0, 40)) await apply(put);
  const past = { txId: position };
  await apply(...puts(2));
  const list = { bucket: "b", limit: 1_000, asOf: past };
  const { found, reads } = await counted((reader) => readList(reader, index.state, list));
  expect(found.documents).toHaveLength(10);
  const atOnce = Math.floor((16 * 1024 * 1024) / text.length);
  expect(reads).toBeLessThanOrEqual(KEYS + 2 * atOnce + 5);
});

it("a list as of a transaction is refused only by the page that comes to a key whose history is gone", async () => {
  const names = Array.from({ length: 13 }, (_, n) => `n/${1_000 + n}`);
  await apply(...names.map((name): TxOperation => ["put", "b", name, 1]));
  await apply(...names.slice(0, 10).map((name): TxOperation => ["delete", "b", name]));
  const past = { txId: position };
  await apply(...names.map((name): TxOperation => ["put", "b", name, 2]), ["put", "b", "n/later", 2]);
  const key = counterRowKey("b");
  const counters = decodeCounters(key, (await kv.get(key)) ?? Buffer.alloc(0));
  await kv.batch([{ type: "put", key, value: encodeCounters(key, { ...counters, floor: position }) }]);
  // After so many deleted documents, the page reads several keys beyond its end.
  const list = { bucket: "b", limit: 2, asOf: past };
  const { documents, cursor = "" } = await index.list(list);
  expect(documents.map(({ name }) => name)).toEqual(["1010", "1011"]);
  await expect(index.list({ ...list, cursor })).rejects.toMatchObject({ code: "WATCH_COMPACTED" });
});

it("a history reads the newest version together with the others", async () => {
  for (let version = 0; version < 6; version += 1) await apply(...puts(version).slice(0, 1));
  const key = { bucket: "b", namespace: "n", name: "1000" };
  const { found, rounds } = await counted((reader) =>
    readHistoryPage(reader, index.state, key, 6, undefined),
  );
  expect(found.versions.map(({ revision }) => revision)).toEqual([7, 6, 5, 4, 3, 2]);
  // The versions, their documents, and the end of the rows.
  expect(rounds).toBe(3);
});

it("the counts of fields and the shards of queues are read together", async () => {
  const buckets = Array.from({ length: 5 }, (_, n) => `b${n}`);
  const fields = ["state", "kind", "zone"];
  await apply(
    ["configure", { indexes: Object.fromEntries(buckets.map((bucket) => [bucket, fields])), queues: QUEUES }],
    ...buckets.map((bucket): TxOperation => ["put", bucket, "n/a", { state: "on", kind: "k" }]),
  );
  while (await index.buildFields());
  const { found, rounds } = await counted((reader) => readBuckets(reader, index.state));
  const counts = { state: { counts: { on: 1 }, more: false }, kind: { counts: { k: 1 }, more: false } };
  expect(found.buckets.slice(0, 5)).toEqual(
    buckets.map((name) => ({ name, documents: 1, fields: { ...counts, zone: { counts: {}, more: false } } })),
  );
  expect(rounds).toBeLessThanOrEqual(5);
  const { found: queues, rounds: few } = await counted((reader) => readQueues(reader, index.state));
  expect(queues.queues.map(({ name }) => name)).toEqual(["q0", "q1", "q2"]);
  expect(few).toBeLessThanOrEqual(2);
});

const QUEUE = { terminal: { status: ["done"] }, shards: 3, cap: 10, lease: "PT1M" };
const QUEUES = { q2: QUEUE, q1: QUEUE, q0: QUEUE };
