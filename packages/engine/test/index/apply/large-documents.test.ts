import { type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, expect, it } from "vitest";
import type { AnyOperation, Transaction, TxOperation } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { asKind, documentRowPrefix, prefixEnd, ROW } from "../../../src/index/rows/row-keys.ts";
import { cut, empty, messagesOf } from "../support/cut-log.ts";
import { LargestRead } from "../support/largest-read.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const MIB = 1024 * 1024;
const opened: KvStore[] = [];
afterEach(async () => {
  for (const kv of opened.splice(0)) await kv.close();
});

/** A store that measures how many bytes of values are read by key between two batches. */
class MeasuredKv {
  readonly store: KvStore;
  most = 0;
  #bytes = 0;

  constructor(kv: KvStore) {
    this.store = new Proxy(kv, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (name === "get") return async (key: Uint8Array) => this.#count(await target.get(key));
        if (name === "getMany")
          return async (keys: Uint8Array[]) =>
            (await target.getMany(keys)).map((found) => this.#count(found));
        if (name === "batch") this.#bytes = 0;
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }

  #count(value: Uint8Array | undefined): Uint8Array | undefined {
    this.#bytes += value?.length ?? 0;
    this.most = Math.max(this.most, this.#bytes);
    return value;
  }
}

async function indexOf(messages: readonly LogMessage[], run = 10_000) {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  opened.push(kv);
  const measured = new MeasuredKv(kv);
  const index = await IndexStore.open(measured.store, empty);
  for (const part of cut(
    messages,
    Array.from({ length: Math.floor(messages.length / run) }, () => run),
  ))
    await index.apply(part);
  return { index, kv, most: measured.most, last: messages.length };
}

async function digestOf(kv: KvStore): Promise<string> {
  const rows: string[] = [];
  for await (const page of separateRows(kv))
    for (const [key, value] of page)
      rows.push(
        `${Buffer.from(key).toString("hex")} ${value.length} ${Buffer.from(value).toString("latin1", 0, 200)}`,
      );
  return rows.join("\n");
}

const text = (bytes: number): string => "x".repeat(bytes);
const puts = (count: number, bytes: number, bucket = "blobs"): Transaction[] =>
  Array.from({ length: count }, (_, n) => ({ ops: [["put", bucket, `b${n}`, text(bytes)]] }));
const remove = (n: number): TxOperation => ["delete", "blobs", `b${n}`];
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

it(
  "a transaction whose keys have documents of more than 64 MiB is aborted with the reason, and smaller parts of it are not",
  { tags: "rest/slow" },
  async () => {
    const messages = messagesOf([
      ...puts(66, MIB),
      { ops: range(0, 66).map(remove) },
      { ops: range(0, 33).map(remove) },
      { ops: range(33, 66).map(remove) },
    ]);
    const { index, kv, last } = await indexOf(messages);
    expect(await index.outcome(last - 2)).toMatchObject({
      committed: false,
      reason: expect.stringMatching(/^TX_TOO_LARGE: .* split the transaction$/),
    });
    expect(await index.outcome(last - 1)).toMatchObject({ committed: true });
    expect(await index.outcome(last)).toMatchObject({ committed: true });
    expect(index.state.documents).toBe(0);
    const single = await indexOf(messages, 1);
    expect(await digestOf(single.kv)).toBe(await digestOf(kv));
  },
);

it("a single document of any size can be replaced and deleted", { tags: "rest/slow" }, async () => {
  const { index, last } = await indexOf(messagesOf([...puts(1, 65 * MIB), { ops: [remove(0)] }]));
  expect(await index.outcome(last)).toMatchObject({ committed: true });
});

it(
  "a batch of small transactions on large documents holds only a part of them",
  { tags: "rest/slow" },
  async () => {
    const messages = messagesOf([
      ...puts(100, MIB),
      ...range(0, 100).map((n): Transaction => ({ ops: [remove(n)] })),
    ]);
    const { index, kv, most } = await indexOf(messages);
    expect(index.state.documents).toBe(0);
    // This includes what was read once more after a batch had turned out to be too large.
    expect(most).toBeLessThan(60 * MIB);
    const single = await indexOf(messages, 1);
    expect(await digestOf(single.kv)).toBe(await digestOf(kv));
  },
);

it("a transaction expires at most 8 MiB of documents, and at least one", { tags: "rest/slow" }, async () => {
  const expire = { blobs: { after: "PT1S" } };
  const transactions: Transaction[] = [
    { ops: [["configure", { expire }]] },
    ...puts(40, MIB),
    ...range(0, 40).map((n): Transaction => ({ ops: [["put", "clock", `t${n}`, n]] })),
  ];
  const messages = messagesOf(transactions).map((message, n) => ({
    ...message,
    time: n <= 41 ? 2_000 : 10_000 + n,
  }));
  for (const run of [1, 7, 10_000]) {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    opened.push(kv);
    const measured = new MeasuredKv(kv);
    const index = await IndexStore.open(measured.store, empty);
    for (const part of cut(messages.slice(0, 42), [run])) await index.apply(part);
    expect(index.state.documents).toBe(40);
    for (const part of cut(messages.slice(42, 43), [run])) await index.apply(part);
    expect(index.state.documents).toBe(40 + 1 - 8);
    for (const part of cut(messages.slice(43), [run])) await index.apply(part);
    expect(index.state.documents).toBe(40);
    expect(measured.most).toBeLessThan(40 * MIB);
  }
});

it("a transaction removes at most 8 MiB of rows of a retired shard", async () => {
  const queues = { jobs: { shards: 1, cap: 100, terminal: { state: ["done"] }, lease: "PT1S" } };
  const done = { state: "done", text: text(MIB) };
  const transactions: Transaction<AnyOperation>[] = [
    { ops: [["configure", { queues }]] },
    ...range(0, 20).map((n): Transaction => ({ ops: [["enqueue", "jobs", `e${n}`, done]] })),
    { ops: [["drain", "jobs", 0, { as: "a" }]] },
    { ops: [["retire", "jobs", 0, 23]] },
    { ops: [["put", "clock", "now", 1]] },
  ];
  const { index } = await indexOf(messagesOf(transactions));
  expect(await index.outcome(24)).toMatchObject({ committed: true });
  expect(index.state.documents).toBe(20 + 1 - 8);
});

it.each<[string, readonly Transaction[]]>([
  ["replaced by", [...puts(40, 1), ...puts(40, MIB)]],
  ["of deleted", [...puts(40, MIB), { ops: range(0, 40).map(remove) }]],
])("a sweep of versions %s large documents holds only a part of the documents", async (_, written) => {
  const history = { blobs: { for: "PT1S" } };
  const transactions: Transaction[] = [
    { ops: [["configure", { history }]] },
    ...written,
    // A version is swept once more than a thousand transactions have followed.
    ...range(0, 1_600).map((n): Transaction => ({ ops: [["put", "clock", "now", n]] })),
  ];
  const messages = messagesOf(transactions).map((message, n) => ({ ...message, time: n * 1_000 }));
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  opened.push(kv);
  const measured = new LargestRead();
  const index = await IndexStore.open(measured.of(kv), empty);
  await index.apply(messages.slice(0, written.length + 2));
  measured.reset();
  await index.apply(messages.slice(written.length + 2));
  expect(await blobsOfKind(kv, ROW.version)).toBe(0);
  expect(await blobsOfKind(kv, ROW.tombstone)).toBe(0);
  expect(measured.bytes).toBeLessThanOrEqual(16 * MIB);
  expect(measured.ranges).toBeLessThanOrEqual(1 + 16);
});

async function blobsOfKind(kv: KvStore, kind: Parameters<typeof asKind>[1]): Promise<number> {
  const gte = asKind(documentRowPrefix("blobs"), kind);
  let count = 0;
  for await (const rows of kv.range({ gte, lt: prefixEnd(gte) })) count += rows.length;
  return count;
}
