import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { levelProvider, memoryProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { IndexStore } from "../../../src/index/index-store.ts";
import { readBuckets } from "../../../src/index/read/bucket-reads.ts";
import { cut, empty, messagesOf } from "../support/cut-log.ts";
import { IndexModel } from "../support/index-model.ts";
import { expectLikeModel } from "../support/like-model.ts";
import { transaction } from "../support/transactions-arbitrary.ts";

const SEED = commitSeed();

let folder = "";
let counter = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-apply-"));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

function freshDir(): string {
  counter += 1;
  return path.join(folder, String(counter));
}

async function expectPure(numRuns: number, seed?: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(transaction, { minLength: 1, maxLength: 25 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
      async (transactions, cutsA, cutsB) => {
        const messages = messagesOf(transactions);
        const model = new IndexModel();
        for (const [index, one] of transactions.entries()) {
          model.apply(one, messages[index + 1]?.time ?? 0);
        }
        const left = await IndexStore.open(await memoryProvider().open(freshDir()), empty);
        for (const run of cut(messages, cutsA)) await left.apply(run);
        while (await left.buildFields());
        const rightDir = freshDir();
        let right = await IndexStore.open(await levelProvider().open(rightDir), empty);
        for (const run of cut(messages, cutsB)) {
          await right.apply(run);
          // The index is reopened after every run, with everything applied so far.
          await right.close();
          right = await IndexStore.open(await levelProvider().open(rightDir), empty);
          await right.buildFields();
        }
        while (await right.buildFields());
        try {
          expect(await left.digest()).toEqual(await right.digest());
          expect(right.state).toEqual(left.state);
          expect(await right.ask(readBuckets)).toEqual(await left.ask(readBuckets));
          await expectLikeModel(left, model, transactions);
        } finally {
          await Promise.all([left.close(), right.close()]);
        }
      },
    ),
    { numRuns, ...(seed === undefined ? {} : { seed }) },
  );
}

const PROMISE =
  "the index is a pure function of the log: it equals a fold of the transactions, however the log is divided and on either store";

it(`${PROMISE} (seed ${SEED})`, async () => {
  await expectPure(3, SEED);
});

it(`${PROMISE}, in 60 logs`, { tags: "rest/campaign" }, async () => {
  await expectPure(60);
});

it("a transaction of many operations leaves turns to others while it is applied", async () => {
  const ops = Array.from({ length: 50_000 }, (_, at) => ["put", "pods", `default/p${at}`, at] as const);
  const messages = messagesOf([{ ops }]);
  const index = await IndexStore.open(await memoryProvider().open(freshDir()), empty);
  let turns = 0;
  const count = (): void => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  await index.apply(messages);
  clearImmediate(counting);
  // Reading and writing rows leaves three; each step that takes a slice of time leaves one more.
  expect(turns).toBeGreaterThan(3);
  expect(index.state.documents).toBe(50_000);
});
