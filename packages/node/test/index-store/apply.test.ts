import { levelProvider, memoryProvider } from "@cairn/kv";
import fc from "fast-check";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { emptyState } from "../../src/joining/empty-state.ts";
import { IndexStore } from "../../src/index-store/index-store.ts";
import { encodeBirthRecord, encodeTransaction } from "../../src/tx-log/transaction-codec.ts";
import type { LogMessage } from "../../src/tx-log/tx-log.ts";
import type { Transaction } from "../../src/tx-log/transaction.ts";
import { parseDocumentKey } from "../../src/tx-log/document-key.ts";
import { IndexModel } from "./index-model.ts";
import { textOf } from "./policies-model.ts";
import { transaction } from "./transactions-arbitrary.ts";

const birth = { log: "log-1", offset: 0 };
const empty = emptyState({ id: "log-1", name: "cairn", bounds: { first: 1, last: 1 }, birth });

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

/** Times go back and forth, as a log's clock may. */
function messagesOf(transactions: readonly Transaction[]): LogMessage[] {
  return [
    { position: 1, time: 1_000, payload: encodeBirthRecord(birth) },
    ...transactions.map((one, index) => ({
      position: index + 2,
      time: 2_000 + (index % 3) * 500 + index,
      payload: encodeTransaction(one),
    })),
  ];
}

function cut(messages: readonly LogMessage[], lengths: readonly number[]): LogMessage[][] {
  const runs: LogMessage[][] = [];
  let from = 0;
  for (const length of [...lengths, messages.length]) {
    const run = messages.slice(from, from + length);
    if (run.length > 0) runs.push(run);
    from += length;
  }
  return runs;
}

async function allDocuments(
  index: IndexStore,
  bucket: string,
  limit: number,
  asOf?: number,
  where?: { field: string; value: string },
) {
  const found: [string, unknown][] = [];
  let cursor: string | undefined;
  do {
    const page = await index.list({
      bucket,
      limit,
      ...(cursor === undefined ? {} : { cursor }),
      ...(asOf === undefined ? {} : { asOf: { txId: asOf } }),
      ...(where === undefined ? {} : { where }),
    });
    for (const { namespace, name, json } of page.documents) {
      found.push([`${namespace}/${name}`, JSON.parse(json)]);
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

describe("the index is a pure function of the log", () => {
  it("says what a fold of the transactions says, however the log is cut and on either store", async () => {
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
            // Restarted after every run: what was applied is what the next opening finds.
            await right.close();
            right = await IndexStore.open(await levelProvider().open(rightDir), empty);
            await right.buildFields();
          }
          while (await right.buildFields());
          try {
            expect(await left.digest()).toEqual(await right.digest());
            expect(right.state).toEqual(left.state);
            expect(await right.buckets()).toEqual(await left.buckets());
            await expectLikeModel(left, model, transactions);
          } finally {
            await Promise.all([left.close(), right.close()]);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

async function expectLikeModel(index: IndexStore, model: IndexModel, transactions: readonly Transaction[]) {
  expect(index.state.txId).toBe(model.txId);
  expect(index.state.documents).toBe(model.documents);
  for (const [txId, committed] of model.outcomes) {
    expect(await index.outcome(txId)).toMatchObject({ txId, committed });
  }
  for (const bucket of ["pods", "nodes"]) {
    expect(await allDocuments(index, bucket, 3)).toEqual(model.list(bucket));
    for (const asOf of [1, Math.ceil(model.txId / 2), model.txId - 1]) {
      expect(await allDocuments(index, bucket, 2, asOf)).toEqual(model.list(bucket, asOf));
    }
  }
  const { events } = await index.events({ limit: 1_000 });
  const recorded = model.policies.boundEvents(model.events, model.time, "age").toReversed();
  expect(events).toEqual(
    recorded.map(({ time, txId, event }) => {
      const told = { id: expect.any(String) as string, txId, ...event, time: String(time) };
      return told;
    }),
  );
  await expectFieldsLikeModel(index, model);
  for (const op of transactions.flatMap(({ ops }) => ops)) {
    if (op[0] === "event" || op[0] === "configure") continue;
    const [, bucket, key] = op;
    const { versions } = await index.history(parseDocumentKey(bucket, key), 1_000);
    const told = versions.map(({ revision, json }) => ({
      revision,
      document: json === undefined ? undefined : (JSON.parse(json) as unknown),
    }));
    expect(told).toEqual(model.history(bucket, key));
  }
}

async function expectFieldsLikeModel(index: IndexStore, model: IndexModel) {
  const { buckets } = await index.buckets();
  for (const [bucket, fields] of Object.entries(model.policies.value.indexes ?? {})) {
    for (const field of fields) {
      const counts = new Map<string, number>();
      for (const [, document] of model.list(bucket)) {
        const text = textOf(document, field);
        if (text !== undefined) counts.set(text, (counts.get(text) ?? 0) + 1);
      }
      const told = buckets.find(({ name }) => name === bucket)?.fields[field];
      expect(told).toEqual({ counts: Object.fromEntries(counts), more: false });
      for (const value of ["on", "3", "a\0b", "x"]) {
        for (const asOf of [undefined, Math.ceil(model.txId / 2)]) {
          const wanted = model.list(bucket, asOf).filter(([, document]) => textOf(document, field) === value);
          expect(await allDocuments(index, bucket, 2, asOf, { field, value })).toEqual(wanted);
        }
      }
    }
  }
}
