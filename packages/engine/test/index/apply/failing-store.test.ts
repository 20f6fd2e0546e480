import { memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { it } from "vitest";
import type { Transaction } from "@cairn/client";
import { IndexStore } from "../../../src/index/index-store.ts";
import type { LogMessage } from "../../../src/log/tx-log.ts";
import { cut, empty, messagesOf } from "../support/cut-log.ts";
import { type Fault, FaultyKv, NONE, survived } from "../support/faulty-kv.ts";
import { IndexModel } from "../support/index-model.ts";
import { expectLikeModel } from "../support/like-model.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

const SEED = commitSeed();

async function expectFold(numRuns: number, seed?: number): Promise<void> {
  const indexes = { pods: ["state", "node.zone"], nodes: ["state"] };
  const indexed: Transaction = { ops: [["configure", { indexes }]] };
  const faults = fc.record({
    reads: fc.array(fc.oneof({ weight: 20, arbitrary: fc.constant(false) }, fc.constant(true)), {
      maxLength: 200,
    }),
    batches: fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.constant<false>(false) },
        fc.constantFrom<Fault>("lost", "lost", "unknown, written", "unknown, not written"),
      ),
      { maxLength: 30 },
    ),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(transaction, { minLength: 1, maxLength: 25 }).map((all) => [indexed, ...all]),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
      faults,
      async (transactions, lengths, failing) => {
        const messages = messagesOf(transactions);
        const model = new IndexModel();
        for (const [at, one] of transactions.entries()) model.apply(one, messages[at + 1]?.time ?? 0);
        const kv = new FaultyKv(await memoryProvider().open("/nonexistent/in-memory"));
        let index = await IndexStore.open(kv.store, empty);
        kv.faults = failing;
        const reopened = async (): Promise<void> => {
          if (!kv.isSuspect) return;
          kv.isSuspect = false;
          const rest = kv.faults;
          kv.faults = NONE;
          index = await IndexStore.open(kv.store, empty);
          kv.faults = rest;
        };
        for (const run of cut(messages, lengths)) {
          for (let rest: readonly LogMessage[] = run; rest.length > 0;) {
            await survived(index.apply(rest));
            await reopened();
            rest = rest.filter(({ position }) => position > index.state.txId);
            await survived(index.buildFields());
            await reopened();
          }
        }
        kv.faults = NONE;
        while (await index.buildFields());
        await expectLikeModel(index, model, transactions);
        await index.close();
      },
    ),
    { numRuns, ...(seed === undefined ? {} : { seed }) },
  );
}

const PROMISE = "an index equals the fold of its log, whichever reads and writes of its store fail";

it(`${PROMISE} (seed ${SEED})`, async () => {
  await expectFold(20, SEED);
});

it(`${PROMISE}, in 400 logs`, { tags: "rest/campaign" }, async () => {
  await expectFold(400);
});
