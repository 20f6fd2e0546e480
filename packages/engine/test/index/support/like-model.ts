import { expect } from "vitest";
import type { Transaction } from "@cairn/client";
import type { IndexStore } from "../../../src/index/index-store.ts";
import { readEvents } from "../../../src/index/read/event-reads.ts";
import { readBuckets } from "../../../src/index/read/bucket-reads.ts";
import { parseDocumentKey } from "@cairn/text";
import type { IndexModel } from "./index-model.ts";
import { textOf } from "./policies-model.ts";

/** Expects the index to equal the model: outcomes, present and past documents, events, counts of fields, and histories. */
export async function expectLikeModel(
  index: IndexStore,
  model: IndexModel,
  transactions: readonly Transaction[],
) {
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
  const { events } = await index.ask(readEvents, { limit: 1_000 });
  const recorded = model.policies.boundEvents(model.events, model.time, "age").toReversed();
  expect(events).toEqual(
    recorded.map(({ time, txId, event }) => {
      const told = { id: expect.any(String) as string, txId, ...event, time: String(time) };
      return told;
    }),
  );
  await expectFieldsLikeModel(index, model);
  for (const op of transactions.flatMap(({ ops }) => ops)) {
    if (op[0] !== "put" && op[0] !== "delete" && op[0] !== "match" && op[0] !== "evict") continue;
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
  const { buckets } = await index.ask(readBuckets);
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
          expect(await allDocuments(index, bucket, 2, asOf, [{ field, value }])).toEqual(wanted);
        }
      }
    }
  }
}

async function allDocuments(
  index: IndexStore,
  bucket: string,
  limit: number,
  asOf?: number,
  where: readonly { field: string; value: string }[] = [],
) {
  const found: [string, unknown][] = [];
  let cursor: string | undefined;
  do {
    const page = await index.list({
      bucket,
      limit,
      ...(cursor === undefined ? {} : { cursor }),
      ...(asOf === undefined ? {} : { asOf: { txId: asOf } }),
      where,
    });
    for (const { namespace, name, json } of page.documents) {
      found.push([`${namespace}/${name}`, JSON.parse(json)]);
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}
