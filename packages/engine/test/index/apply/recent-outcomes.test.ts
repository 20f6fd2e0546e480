import { memoryProvider } from "@cairn/kv";
import type { Transaction } from "@cairn/client";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IndexStore } from "../../../src/index/index-store.ts";
import { cut, empty, messagesOf } from "../support/cut-log.ts";
import { IndexModel } from "../support/index-model.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

/** Returns the number of keys that a transaction writes and that have a document in the model. */
function documentsOf(model: IndexModel, { ops }: Transaction): number {
  const has = (bucket: string, key: string): boolean => model.list(bucket).some(([id]) => id === key);
  return ops.filter((op) => (op[0] === "put" || op[0] === "delete" || op[0] === "evict") && has(op[1], op[2]))
    .length;
}

function put(at: number): Transaction {
  return { ops: [["put", "pods", `default/p${at % 7}`, at]] };
}

describe("the outcome of a commit", () => {
  it(
    "equals the outcome in the index's rows, with the number of documents before it",
    { tags: "rest/slow" },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(transaction, { minLength: 1, maxLength: 20 }),
          fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
          async (transactions, cuts) => {
            const messages = messagesOf(transactions);
            const model = new IndexModel();
            const before = transactions.map((one, at) => {
              const found = documentsOf(model, one);
              model.apply(one, messages[at + 1]?.time ?? 0);
              return found;
            });
            const index = await IndexStore.open(await memoryProvider().open("/nonexistent/in-memory"), empty);
            for (const run of cut(messages, cuts)) await index.apply(run);
            for (const [at, found] of before.entries()) {
              const known = await index.commitResult(at + 2);
              expect(known?.outcome).toEqual(await index.outcome(at + 2));
              const isFirst = known?.outcome.duplicateOf === undefined;
              const replaced = isFirst ? (known?.outcome.committed === true ? found : 0) : undefined;
              expect(known?.replaced).toBe(replaced);
            }
            await index.close();
          },
        ),
        { numRuns: 100 },
      );
    },
  );

  it("is read from the index for an older transaction and after a restart", async () => {
    const kv = await memoryProvider().open("/nonexistent/in-memory");
    const index = await IndexStore.open(kv, empty);
    await index.apply(messagesOf(Array.from({ length: 1_500 }, (_, at) => put(at))));
    expect(await index.commitResult(1_501)).toMatchObject({ outcome: { committed: true }, replaced: 1 });
    expect(await index.commitResult(478)).toMatchObject({ outcome: { committed: true }, replaced: 1 });
    expect(await index.commitResult(477)).toMatchObject({
      outcome: { txId: 477, committed: true },
      replaced: undefined,
    });
    expect(await index.commitResult(1_502)).toBeUndefined();
    const restarted = await IndexStore.open(kv, empty);
    expect(await restarted.commitResult(1_501)).toMatchObject({
      outcome: { txId: 1_501, committed: true },
      replaced: undefined,
    });
    await index.close();
  });
});
