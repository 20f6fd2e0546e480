import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AnyOperation, Transaction } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import { RECENT_CHANGES_BYTES } from "../../../src/index/read/recent-changes.ts";
import { emptyState, type IndexState } from "../../../src/index/rows/index-state.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { decodeMessage } from "../../../src/transactions/transaction-codec.ts";
import { expectBothWays } from "../support/both-ways.ts";
import { cut, empty, messagesOf } from "../support/cut-log.ts";
import { intended } from "../support/queue-intents.ts";
import { queueMessages } from "../support/queue-messages.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

const SEED = commitSeed();
const FIXTURES = path.join(import.meta.dirname, "../../../../../test/fixtures/releases");
const PAGE = { maxTransactions: 10_000, maxBytes: 10_000_000 };
const lengths = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 30 });

async function openIndex(state: IndexState = empty): Promise<IndexStore> {
  return await IndexStore.open(await memoryProvider().open("/nonexistent/in-memory"), state);
}

/** Applies messages in runs, and expects the same changes both ways after each. Returns how many pages were kept. */
async function comparedBothWays(
  messages: readonly LogMessage[],
  runs: readonly number[],
  { state = empty, reach = 15 } = {},
): Promise<number> {
  const index = await openIndex(state);
  index.changes.open();
  let kept = 0;
  for (const run of cut(messages, runs)) {
    await index.apply(run);
    kept += await expectBothWays(index, reach);
  }
  await index.close();
  return kept;
}

function puts(count: number, bucket = "pods", bytes = 1): Transaction<AnyOperation>[] {
  return Array.from({ length: count }, (_, n) => ({ ops: [["put", bucket, "a", "x".repeat(bytes + n)]] }));
}

describe("the changes that an index keeps are those that it reads", () => {
  it(`in any transactions, with expiry, evictions and several versions of a key in a batch (seed ${SEED})`, async () => {
    let kept = 0;
    const property = fc.asyncProperty(
      fc.array(transaction, { minLength: 1, maxLength: 40 }),
      lengths,
      async (transactions, runs) => {
        kept += await comparedBothWays(messagesOf(transactions), runs);
      },
    );
    await fc.assert(property, { numRuns: 100, seed: SEED });
    expect(kept).toBeGreaterThan(1_000);
  });

  it(`in queues, whose entries are enqueued, moved and retired with their shards (seed ${SEED})`, async () => {
    let kept = 0;
    const property = fc.asyncProperty(
      fc.array(intended, { minLength: 1, maxLength: 60 }),
      lengths,
      async (all, runs) => {
        kept += await comparedBothWays(queueMessages(all), runs);
      },
    );
    await fc.assert(property, { numRuns: 60, seed: SEED });
    expect(kept).toBeGreaterThan(1_000);
  });

  it("in documents that expire together, in another order than that of their keys", async () => {
    const messages = messagesOf([
      { ops: [["configure", { expire: { pods: { after: 3_000 } } }]] },
      { ops: [["put", "pods", "b", 1]] },
      { ops: [["put", "pods", "a", 1]] },
      { ops: [["put", "nodes", "c", 1]] },
    ]);
    const later = messages.map((one) => (one.position === 5 ? { ...one, time: 10_000 } : one));
    expect(await comparedBothWays(later, [4])).toBeGreaterThan(0);
  });

  it.each(readdirSync(FIXTURES))(
    "in the content of every kind of release %s",
    { tags: "rest/slow" },
    async (release) => {
      const messages = readFileSync(path.join(FIXTURES, release, "messages.ndjson"), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { position: number; time: number; payload: string })
        .map(({ payload, ...one }) => ({ ...one, payload: Buffer.from(payload) }));
      const [first] = messages;
      const decoded = decodeMessage(first?.payload ?? Buffer.alloc(0));
      if (decoded.kind !== "birth") throw new Error("the log begins with another message");
      const birth = decoded.birth;
      const state = emptyState({ id: birth.log, name: "cairn", bounds: { first: 1, last: 1 }, birth });
      for (const [length, reach] of [
        [1, 1],
        [40, 12],
        [300, 12],
      ] as const) {
        const runs = Array.from({ length: Math.ceil(messages.length / length) }, () => length);
        expect(await comparedBothWays(messages, runs, { state, reach })).toBeGreaterThan(10);
      }
    },
  );
});

describe("what an index keeps of its changes", () => {
  it("is nothing without a reader, and nothing of a reader that has ended", async () => {
    const index = await openIndex();
    const messages = messagesOf(puts(6));
    const read = (after: number) => index.changes.read({ after, ...PAGE }, index.state);
    await index.apply(messages.slice(0, 2));
    expect(read(1)).toBeUndefined();
    const end = index.changes.open();
    await index.apply(messages.slice(2, 4));
    expect(read(2)?.transactions).toHaveLength(2);
    expect(read(1)).toBeUndefined();
    end();
    expect(read(2)).toBeUndefined();
    await index.apply(messages.slice(4));
    expect(read(4)).toBeUndefined();
    await index.close();
  });

  it("ends with an eviction, whose value is in no change that is read afterwards", async () => {
    const index = await openIndex();
    index.changes.open();
    const messages = messagesOf([
      { ops: [["put", "pods", "a", "secret"]] },
      { ops: [["put", "pods", "b", 1]] },
      { ops: [["evict", "pods", "a"]] },
      { ops: [["put", "pods", "c", 1]] },
    ]);
    const read = (after: number) => index.changes.read({ after, ...PAGE }, index.state);
    await index.apply(messages.slice(0, 3));
    expect(JSON.stringify(read(1))).toContain("secret");
    await index.apply(messages.slice(3, 4));
    expect([1, 2, 3].map(read)).toEqual([undefined, undefined, undefined]);
    await index.apply(messages.slice(4));
    expect([1, 2, 3].map(read)).toEqual([undefined, undefined, undefined]);
    expect(read(4)?.transactions).toMatchObject([{ changes: [{ name: "c" }] }]);
    await index.close();
  });

  it("does not include changes that a policy has removed from the index", async () => {
    const index = await openIndex();
    index.changes.open();
    const messages = messagesOf([
      { ops: [["configure", { history: { pods: { keep: 0 } } }]] },
      ...puts(2_000, "pods"),
    ]);
    for (const run of cut(
      messages,
      Array.from({ length: 30 }, () => 70),
    ))
      await index.apply(run);
    const { pruned = 0, txId } = index.state;
    expect(pruned).toBeGreaterThan(100);
    expect(index.changes.read({ after: pruned - 1, ...PAGE }, index.state)).toBeUndefined();
    expect(index.changes.read({ after: pruned, ...PAGE }, index.state)?.end?.txId).toBe(txId);
    await expectBothWays(index, 5);
    await index.close();
  });

  it(
    "is bounded in bytes, so that a reader that is further behind gets nothing",
    { tags: "rest/slow" },
    async () => {
      const index = await openIndex();
      index.changes.open();
      const bytes = 100_000;
      await index.apply(messagesOf(puts(60, "pods", bytes)));
      const { txId } = index.state;
      const within = Math.floor(RECENT_CHANGES_BYTES / (bytes + 1_000));
      expect(index.changes.read({ after: txId - within, ...PAGE }, index.state)?.end?.txId).toBe(txId);
      expect(index.changes.read({ after: txId - within - 1, ...PAGE }, index.state)).toBeUndefined();
      await expectBothWays(index, within);
      await index.close();
    },
  );
});
