import { createHash } from "node:crypto";
import { type KvStore, memoryProvider } from "@cairn/kv";
import type { Transaction } from "@cairn/client";
import { describe, expect, it } from "vitest";
import { compareChains } from "../../../src/index/chains/compare-chains.ts";
import { emptyState } from "../../../src/index/rows/index-state.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { documentRowKey, ROW, txRowKey } from "../../../src/index/rows/row-keys.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });
const BEGIN = 1_700_000_000_000;

function message(position: number, transaction: Transaction): LogMessage {
  const payload = encodeTransaction(transaction, birth.log);
  return { position, time: BEGIN + position, nanoseconds: position, payload };
}

/** Returns a log of messages, a few of which were not written by a node. */
function logOf(count: number): LogMessage[] {
  const messages: LogMessage[] = [
    { position: 1, time: BEGIN, nanoseconds: 999_999, payload: encodeBirthRecord(birth) },
  ];
  for (let position = 2; position <= count; position += 1) {
    const isForeign = position % 97 === 0;
    const put = message(position, { ops: [["put", "things", `k${position % 50}`, position]] });
    messages.push(isForeign ? { ...put, payload: Buffer.from(`not of Cairn ${position}`) } : put);
  }
  return messages;
}

async function newStore(): Promise<KvStore> {
  return await memoryProvider().open("/nonexistent/in-memory");
}

async function indexOf(messages: readonly LogMessage[], kv?: KvStore): Promise<IndexStore> {
  const index = await IndexStore.open(kv ?? (await newStore()), empty);
  await index.apply(messages);
  return index;
}

/** Computes the history chain as docs/internals/log-format.md specifies it, from the messages alone. */
function historyOf(messages: readonly LogMessage[]): string {
  let chain = Buffer.alloc(32);
  for (let from = 0; from < messages.length; from += 1_024) {
    const hash = createHash("sha256").update(chain);
    for (const { time, nanoseconds = 0, payload } of messages.slice(from, from + 1_024)) {
      const stored = Buffer.alloc(12);
      stored.writeUInt32BE(Math.floor(time / 1_000), 4);
      stored.writeUInt32BE((time % 1_000) * 1_000_000 + nanoseconds, 8);
      const [, crc, random] =
        /^cairn\/1 ([0-9a-f]{8}) [0-9a-f]{16} ([0-9a-f]{16})\n/.exec(
          Buffer.from(payload).toString("latin1"),
        ) ?? [];
      const mark =
        crc === undefined || random === undefined
          ? createHash("sha256").update(payload).digest().subarray(0, 12)
          : Buffer.from(crc + random, "hex");
      hash.update(mark.map((byte, at) => byte ^ (stored[at] ?? 0)));
    }
    chain = hash.digest();
  }
  return chain.toString("hex");
}

async function expectSameWithCuts(run: number): Promise<void> {
  const messages = logOf(5_200);
  const expected = await (await indexOf(messages)).chains();
  const kv = await newStore();
  for (let from = 0; from < messages.length; from += run) await indexOf(messages.slice(from, from + run), kv);
  const index = await IndexStore.open(kv, empty);
  expect(await index.chains()).toEqual(expected);
  let rows = 0;
  for await (const page of kv.range({ gte: Buffer.from("r"), lt: Buffer.from("s") })) rows += page.length;
  // The position 5,200 is 80 after the fifth link, so there are two spans of 32 rows, and three rows.
  expect(rows).toBe(2 * 32 + 3);
}

describe("the chains", () => {
  it("can be computed from the messages alone, at links and between them", async () => {
    const messages = logOf(2_500);
    const index = await indexOf(messages);
    for (const txId of [1_024, 2_048, 2_049, 2_499, 2_500]) {
      const value = await index.chainsAt(txId);
      expect(value?.history).toBe(historyOf(messages.slice(0, txId)));
    }
    expect((await index.chains()).map(({ txId }) => txId)).toEqual([2_500, 2_048, 1_024]);
  });

  it.each([1_000, 1_024, 3_000])("do not depend on cuts and restarts: every %i messages", expectSameWithCuts);

  it.each([1, 7])(
    "do not depend on cuts and restarts: every %i messages",
    { tags: "rest/slow" },
    expectSameWithCuts,
  );

  it("know the newest transactions and every link, and nothing beyond the end", async () => {
    const index = await indexOf(logOf(9_000));
    expect(await index.chainsAt(9_001)).toBeUndefined();
    expect(await index.chainsAt(9_000 - 2_048)).toBeDefined();
    expect(await index.chainsAt(5_000)).toBeUndefined();
    expect(await index.chainsAt(1_024)).toBeDefined();
    expect((await index.chains()).map(({ txId }) => txId / 1_024)).toEqual([
      9_000 / 1_024,
      8,
      7,
      6,
      5,
      4,
      3,
      2,
      1,
    ]);
  });

  it("have fewer links the older they are", { tags: "rest/slow" }, async () => {
    const index = await indexOf(logOf(40_000));
    expect((await index.chains()).slice(1).map(({ txId }) => txId / 1_024)).toEqual([
      39, 38, 37, 36, 35, 34, 33, 32, 31, 29, 25, 17, 1,
    ]);
  });

  it.each<[string, Transaction["ops"][number]]>([
    ["whether it took effect", ["match", "things", "a", 2]],
    ["the number of documents", ["evict", "things", "a"]],
    ["what it wrote", ["delete", "things", "a"]],
  ])("depend on the outcome of every transaction: %s", async (_what, op) => {
    const [first] = logOf(1);
    if (first === undefined) throw new Error("a log begins with its birth record");
    const put = message(2, { ops: [["put", "things", "a", 0]] });
    const last = message(3, { ops: [op] });
    const right = await indexOf([first, put, last]);
    const kv = await newStore();
    const wrong = await indexOf([first, put], kv);
    // This is like damage that hides the row.
    await kv.batch([{ type: "del", key: documentRowKey("things", "default/a") }]);
    expect(await wrong.chains()).toEqual([await right.chainsAt(2)]);
    await wrong.apply([last]);
    const [ours, theirs] = [await right.chainsAt(3), await wrong.chainsAt(3)];
    expect(theirs?.history).toBe(ours?.history);
    expect(theirs?.effects).not.toBe(ours?.effects);
  });

  it.each([
    ["entries at their end", txRowKey(ROW.chainEntries, 2_497)],
    ["entries in the middle", txRowKey(ROW.chainEntries, 33)],
    ["the first entries", txRowKey(ROW.chainEntries, 1)],
    ["a link", txRowKey(ROW.link, 1_024)],
  ])("are not continued if rows are missing: %s", async (_what, key) => {
    const kv = await newStore();
    await indexOf(logOf(2_500), kv);
    await kv.batch([{ type: "del", key }]);
    await expect(IndexStore.open(kv, empty)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  });
});

async function compared(left: readonly LogMessage[], right: readonly LogMessage[]) {
  const own = await indexOf(left);
  return await compareChains(
    async (txId) => await own.chainsAt(txId),
    await (await indexOf(right)).chains(),
    "effects",
  );
}

describe("two chains", () => {
  it("agree when one is behind the other, whether by less than a link or by many links", async () => {
    const messages = logOf(6_000);
    expect(await compared(messages, messages.slice(0, 5_990))).toBeUndefined();
    expect(await compared(messages.slice(0, 5_990), messages)).toBeUndefined();
    expect(await compared(messages, messages.slice(0, 1_500))).toBeUndefined();
    expect(await compared([], messages)).toBeUndefined();
  });

  it.each([
    ["six messages", 5_994, 5_000, 6_000],
    ["six thousand messages", 1, 0, 1_024],
    ["one message with the same bytes before it and after it", 3_000, 2_048, 3_072],
  ])(
    "that diverge by %s are distinguished, and their divergence is located approximately",
    async (_what, at, agreeAt, differAt) => {
      const messages = logOf(6_000);
      const other = logOf(6_000).map((one, index) => (index === at ? one : (messages[index] ?? one)));
      if (at === 5_994) other.splice(at, 6, ...logOf(6_000).slice(at));
      const found = await compared(messages, other);
      expect(found).toEqual({ kind: "history", agreeAt: at === 5_994 ? 5_120 : agreeAt, differAt });
    },
  );

  it("differ for the same payload at a different time in the log", async () => {
    const messages = logOf(20);
    const other = messages.map((one, index) => (index === 9 ? { ...one, nanoseconds: 1 } : one));
    expect(await compared(messages, other)).toEqual({ kind: "history", agreeAt: 0, differAt: 20 });
  });
});
