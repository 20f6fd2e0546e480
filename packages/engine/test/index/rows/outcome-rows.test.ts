import { type KvStore, memoryProvider } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import fc from "fast-check";
import { expect, it, onTestFinished } from "vitest";
import { OutcomeBatch, readOutcome, readOutcomes } from "../../../src/index/rows/outcome-rows.ts";
import { rowTxId, transactionRowKey } from "../../../src/index/rows/row-keys.ts";
import { encodeOutcome } from "../../../src/index/rows/row-values.ts";
import { flipped } from "./flipped.ts";
import { MARK_BYTES } from "../../../src/index/rows/chain-rows.ts";

async function emptyStore(): Promise<KvStore> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  onTestFinished(() => kv.close());
  return kv;
}

/** Writes outcomes with texts of these lengths after transaction `offset`, in batches of these sizes in turn. */
async function written(
  kv: KvStore,
  lengths: readonly number[],
  batches: readonly number[],
  offset = 0,
): Promise<void> {
  for (let from = 0, turn = 0; from < lengths.length; turn += 1) {
    const texts = lengths.slice(from, from + (batches[turn % batches.length] ?? 1));
    const batch = new OutcomeBatch();
    for (const length of texts) {
      from += 1;
      const key = transactionRowKey(offset + from);
      const head = { time: from, mark: Buffer.alloc(MARK_BYTES, from) };
      batch.add(offset + from, key, encodeOutcome(key, head, "aborted", textOf(offset + from, length)));
    }
    await kv.batch([...batch.rows()]);
  }
}

const textOf = (txId: TxId, length: number): Buffer => Buffer.from(`${txId} `.padEnd(length, "x"));

async function rowsOf(kv: KvStore): Promise<(readonly [txId: TxId, value: string])[]> {
  const found: (readonly [TxId, string])[] = [];
  for await (const rows of kv.range({})) {
    for (const [key, value] of rows) found.push([rowTxId(key), Buffer.from(value).toString("hex")]);
  }
  return found;
}

const lengths = fc.array(fc.oneof({ weight: 50, arbitrary: fc.nat(200) }, fc.nat(20_000)), {
  minLength: 1,
  maxLength: 150,
  size: "max",
});
const batches = fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 5 });
const offsets = fc.constantFrom(0, 5, 31, 32, 1_000);

it("are read one by one, and in ranges in both directions, from rows of both kinds", async () => {
  await fc.assert(
    fc.asyncProperty(
      lengths,
      batches,
      offsets,
      fc.array(fc.record({ after: fc.nat(200), count: fc.nat(100), limit: fc.integer({ min: 1, max: 80 }) })),
      async (texts, sizes, offset, ranges) => {
        const kv = await emptyStore();
        await written(kv, texts, sizes, offset);
        const all = texts.map((length, index) => {
          const txId = offset + index + 1;
          return { txId, text: textOf(txId, length).toString() };
        });
        for (const { txId, text } of all) expect((await readOutcome(kv, txId))?.text).toBe(text);
        expect(await readOutcome(kv, offset)).toBeUndefined();
        expect(await readOutcome(kv, offset + all.length + 1)).toBeUndefined();
        for (const { after: from, count, limit } of ranges) {
          const [after, upTo] = [offset + from, offset + from + count];
          const within = all.filter(({ txId }) => txId > after && txId <= upTo);
          expect(await read(kv, { after, upTo })).toEqual(within);
          expect(await read(kv, { after, upTo, limit })).toEqual(within.slice(0, limit));
          const backwards = within.toReversed();
          expect(await read(kv, { after, upTo, reverse: true })).toEqual(backwards);
          expect(await read(kv, { after, upTo, reverse: true, limit })).toEqual(backwards.slice(0, limit));
        }
      },
    ),
    { numRuns: 50 },
  );
});

async function read(kv: KvStore, range: Parameters<typeof readOutcomes>[1]) {
  const found: { txId: TxId; text: string }[] = [];
  for await (const outcomes of readOutcomes(kv, range)) {
    for (const { txId, outcome } of outcomes) found.push({ txId, text: outcome.text });
  }
  return found;
}

it("need a thirtieth of the rows if they are applied together, unless they are large", async () => {
  const [small, large, single] = [await emptyStore(), await emptyStore(), await emptyStore()];
  await written(small, Array<number>(64).fill(100), [500]);
  await written(large, Array<number>(64).fill(600), [500]);
  expect((await rowsOf(small)).map(([txId]) => txId)).toEqual([32, 64]);
  expect(await rowsOf(large)).toHaveLength(64);
  await written(single, Array<number>(64).fill(100), [1]);
  expect(await rowsOf(single)).toHaveLength(64);
});

it("are never returned from a damaged row", { tags: "rest/slow" }, async () => {
  const kv = await emptyStore();
  await written(kv, Array<number>(32).fill(20), [32]);
  const key = transactionRowKey(32);
  const row = Buffer.from((await kv.get(key)) ?? "");
  expect(row.length).toBeGreaterThan(32 * 20);
  for (const value of flipped(row)) {
    await kv.batch([{ type: "put", key, value }]);
    await expect(readOutcome(kv, 7)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
  }
  await kv.batch([
    { type: "del", key },
    { type: "put", key: transactionRowKey(64), value: row },
  ]);
  await expect(readOutcome(kv, 40)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
});
