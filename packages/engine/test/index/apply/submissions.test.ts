import { type KvStore, memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Transaction } from "@cairn/client";
import { applyMessages } from "../../../src/index/apply/apply-transactions.ts";
import { decodeBatches, batchLength } from "../../../src/index/apply/batches.ts";
import { readFieldWork } from "../../../src/index/fields/field-builds.ts";
import { IndexStore } from "../../../src/index/index-store.ts";
import { type IndexState, emptyState } from "../../../src/index/rows/index-state.ts";
import { encodeBirthRecord, encodeTransaction } from "../../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { IndexModel } from "../support/index-model.ts";
import { transaction } from "../support/transactions-arbitrary.ts";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

function messagesOf(transactions: readonly Transaction[]): LogMessage[] {
  const payloads = [
    encodeBirthRecord(birth),
    ...transactions.map((one) => encodeTransaction(one, birth.log)),
  ];
  return payloads.map((payload, index) => ({ position: index + 1, time: 1_000 + index, payload }));
}

/** Applies a log in runs of these lengths, with a memory of `remembered` transactions. */
async function applied(messages: readonly LogMessage[], run: number, remembered: number): Promise<KvStore> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  let state: IndexState = empty;
  for (let from = 0; from < messages.length; from += run) {
    for (const batch of decodeBatches(messages.slice(from, from + run))) {
      for (let rest = batch; rest.length > 0;) {
        const length = await batchLength(rest, state, kv);
        const { builds } = await readFieldWork(kv);
        const part = rest.slice(0, length);
        const { rows, state: after } = await applyMessages(part, state, kv, { remembered, builds });
        await kv.batch(rows);
        state = after;
        rest = rest.slice(length);
      }
    }
  }
  return kv;
}

async function rowsOf(kv: KvStore): Promise<string[]> {
  const found: string[] = [];
  for await (const rows of separateRows(kv)) {
    for (const [key, value] of rows)
      found.push(`${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`);
  }
  return found;
}

const put = (id: string, value: number): Transaction => ({ ops: [["put", "pods", "a", value]], id });
const other: Transaction = { ops: [["delete", "pods", "nothing"]] };

describe("the memory of idempotency ids", () => {
  it(
    "has the same rows however the log is divided, and agrees with a fold of the same memory",
    { tags: "rest/slow" },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(transaction, { minLength: 1, maxLength: 30 }),
          fc.integer({ min: 1, max: 6 }),
          fc.integer({ min: 1, max: 9 }),
          async (transactions, remembered, run) => {
            const messages = messagesOf(transactions);
            const model = new IndexModel(remembered);
            for (const [index, one] of transactions.entries()) model.apply(one, 1_001 + index);
            const [one, whole] = [
              await applied(messages, run, remembered),
              await applied(messages, 100, remembered),
            ];
            expect(await rowsOf(one)).toEqual(await rowsOf(whole));
            const index = await IndexStore.open(one, empty);
            for (const [txId, committed] of model.outcomes) {
              expect(await index.outcome(txId)).toMatchObject({ committed });
            }
            await Promise.all([index.close(), whole.close()]);
          },
        ),
        { numRuns: 150 },
      );
    },
  );

  it.each([1, 2, 6])(
    "applies a transaction once within its window, and again afterwards, in runs of %i",
    async (run) => {
      const kv = await applied(messagesOf([put("x", 1), other, other, put("x", 1), put("x", 1)]), run, 3);
      const index = await IndexStore.open(kv, empty);
      // The last transaction of the window, and the one after it.
      expect(await index.outcome(5)).toMatchObject({ committed: true, duplicateOf: 2 });
      expect(await index.outcome(6)).toMatchObject({ txId: 6, committed: true });
      expect(await index.outcome(6)).not.toHaveProperty("duplicateOf");
      const { versions } = await index.history({ bucket: "pods", namespace: "default", name: "a" }, 10);
      expect(versions.map(({ revision }) => revision)).toEqual([6, 2]);
      await index.close();
    },
  );

  it("keeps rows only for the transactions that it remembers", async () => {
    const many = Array.from({ length: 40 }, (_, n) => put(`id-${n}`, n));
    for (const run of [1, 7, 100]) {
      const kv = await applied(messagesOf(many), run, 5);
      const kinds = (await rowsOf(kv)).map((row) => row.slice(0, 2));
      expect(kinds.filter((kind) => kind === "69")).toHaveLength(5);
      expect(kinds.filter((kind) => kind === "6a")).toHaveLength(5);
      await kv.close();
    }
  });
});
