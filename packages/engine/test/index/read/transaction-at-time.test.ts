import { type KvRange, type KvReader, type KvRow, memoryProvider } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import fc from "fast-check";
import { expect, it } from "vitest";
import { transactionAtTime } from "../../../src/index/read/transaction-at-time.ts";
import { MARK_BYTES } from "../../../src/index/rows/chain-rows.ts";
import { OutcomeBatch, OUTCOMES_IN_ROW } from "../../../src/index/rows/outcome-rows.ts";
import { ROW, rowsOfKind, rowTxId, transactionRowKey } from "../../../src/index/rows/row-keys.ts";
import { encodeOutcome } from "../../../src/index/rows/row-values.ts";
import { CountedRounds } from "../support/counted-rounds.ts";

const MARK = Buffer.alloc(MARK_BYTES);

/** Returns the rows of the outcomes of transactions that are applied together, with a text of this length. */
function rowsOf(txIds: readonly TxId[], timeOf: (txId: TxId) => number, length = 0): KvRow[] {
  const batch = new OutcomeBatch();
  for (const txId of txIds) {
    const key = transactionRowKey(txId);
    batch.add(
      txId,
      key,
      encodeOutcome(key, { time: timeOf(txId), mark: MARK }, "aborted", Buffer.alloc(length)),
    );
  }
  return batch.rows().flatMap((row) => (row.type === "put" ? [[row.key, row.value] as const] : []));
}

function idsFrom(first: TxId, count: number): TxId[] {
  return Array.from({ length: count }, (_, at) => first + at);
}

it(
  "is the one that a look at every transaction finds, with equal times, rows of both kinds and holes at the beginning",
  { tags: "rest/slow" },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(0, 0, 0, 1, 2, 50), { minLength: 1, maxLength: 3_000, size: "max" }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.constantFrom(0, 0, 0, 700), { minLength: 1, maxLength: 5 }),
        fc.constantFrom(0, 5, 31, 32, 40, 1_100),
        fc.nat(3),
        async (steps, sizes, lengths, offset, removedGroups) => {
          const kv = await memoryProvider().open("/nonexistent/in-memory");
          const times: number[] = [];
          for (const step of steps) times.push((times.at(-1) ?? 1_000) + step);
          const timeOf = (txId: TxId): number => times[txId - offset - 1] ?? 0;
          const last = offset + times.length;
          for (let from = offset + 1, turn = 0; from <= last; turn += 1) {
            const ids = idsFrom(from, Math.min(sizes[turn % sizes.length] ?? 1, last + 1 - from));
            const rows = rowsOf(ids, timeOf, lengths[turn % lengths.length]);
            await kv.batch(rows.map(([key, value]) => ({ type: "put", key, value })));
            from += ids.length;
          }
          // A policy removes whole groups.
          const removed = Math.min(removedGroups * OUTCOMES_IN_ROW, last - (last % OUTCOMES_IN_ROW));
          for await (const rows of kv.range(rowsOfKind(ROW.transaction))) {
            const gone = rows.filter(([key]) => rowTxId(key) <= removed);
            await kv.batch(gone.map(([key]) => ({ type: "del", key })));
          }
          const first = removed + 1;
          const some = times.filter((_, at) => at % Math.ceil(times.length / 40) === 0);
          for (const time of new Set([0, 999, ...times.slice(0, 3), ...some, ...times.slice(-3)])) {
            for (const at of [time, time + 1]) {
              let expected: TxId | undefined;
              for (let txId = first; txId <= last && (txId <= offset || timeOf(txId) <= at); txId += 1)
                expected = txId;
              expect(await transactionAtTime(kv, at, { first, last })).toBe(expected);
            }
          }
          await kv.close();
        },
      ),
      { numRuns: 40 },
    );
  },
);

/** A reader of the outcomes of any number of transactions, which are computed when they are read. */
class ComputedOutcomes implements KvReader {
  readonly #timeOf: (txId: TxId) => number;
  readonly #isShared: boolean;

  constructor(isShared: boolean, timeOf: (txId: TxId) => number) {
    this.#isShared = isShared;
    this.#timeOf = timeOf;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const txId = rowTxId(key);
    return this.#rows(txId, txId)[0]?.[1];
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => this.get(key));
  }

  async *range({ gt, lte }: KvRange): AsyncGenerator<readonly KvRow[], void> {
    if (gt !== undefined && lte !== undefined) yield this.#rows(rowTxId(gt) + 1, rowTxId(lte));
  }

  #rows(from: TxId, upTo: TxId): KvRow[] {
    const ids = idsFrom(from, upTo + 1 - from);
    if (!this.#isShared) return ids.flatMap((txId) => rowsOf([txId], this.#timeOf));
    return ids
      .filter((txId) => txId % OUTCOMES_IN_ROW === 0)
      .flatMap((txId) => rowsOf(idsFrom(txId + 1 - OUTCOMES_IN_ROW, OUTCOMES_IN_ROW), this.#timeOf));
  }
}

it.each([
  { last: 300_000, isShared: true, most: 3 },
  { last: 5_000_000, isShared: true, most: 4 },
  { last: 5_000_000, isShared: false, most: 5 },
])("is found in few rounds of reads ($last, shared rows: $isShared)", async ({ last, isShared, most }) => {
  // All of them at the same rate, and nearly all of them at the beginning or at the end.
  const rates = [
    (txId: TxId) => txId * 10,
    (txId: TxId) => Math.round(Math.log(txId) * 1e6),
    (txId: TxId) => txId ** 2,
  ];
  for (const timeOf of rates) {
    const counted = new CountedRounds();
    const reader = counted.of(new ComputedOutcomes(isShared, timeOf));
    let largest = 0;
    for (const txId of [1, 2, 33, 77_777, last / 2, last - 1, last]) {
      counted.rounds = 0;
      counted.reads = 0;
      const found = await transactionAtTime(reader, timeOf(txId), { first: 1, last });
      expect(found).toBe(lastAt(timeOf, txId, last));
      expect(counted.reads).toBeLessThanOrEqual(16 * 3 + 32 + 1);
      largest = Math.max(largest, counted.rounds);
    }
    expect(largest).toBe(most);
  }
});

/** Returns the last transaction with the time of `txId`. */
function lastAt(timeOf: (txId: TxId) => number, txId: TxId, last: TxId): TxId {
  let found = txId;
  while (found < last && timeOf(found + 1) === timeOf(txId)) found += 1;
  return found;
}
