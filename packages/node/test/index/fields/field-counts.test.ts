import type { KvReader } from "@cairn/kv";
import { expect, it } from "vitest";
import { FieldCounts } from "../../../src/index/fields/field-counts.ts";
import { fieldKeyRest } from "../../../src/index/rows/field-row-keys.ts";
import { encodeNumber } from "../../../src/index/rows/row-values.ts";

const FIELD = 7;

/** Returns a store of counts by value. `asked` contains the values that were read. */
function storeOf(rows: Readonly<Record<string, number>>) {
  const asked: string[][] = [];
  const reader: Pick<KvReader, "getMany"> = {
    getMany: (keys) => {
      const names = keys.map((key) => fieldKeyRest(key).toString());
      asked.push(names);
      return Promise.resolve(
        keys.map((key, index) => {
          const count = rows[names[index] ?? ""];
          return count === undefined ? undefined : encodeNumber(key, count);
        }),
      );
    },
  };
  return { asked, reader: reader as KvReader };
}

/** Reads counts, and increases others like a batch. */
async function batch(counts: FieldCounts, reader: KvReader, more: Readonly<Record<string, number>>) {
  const found = Object.keys(more).map((text) => counts.find(FIELD, text));
  const before = await counts.read(reader, found);
  for (const [at, count] of found.entries()) counts.set(count, (before[at] ?? 0) + (more[count.text] ?? 0));
}

async function read(counts: FieldCounts, reader: KvReader, ...texts: string[]): Promise<number[]> {
  return await counts.read(
    reader,
    texts.map((text) => counts.find(FIELD, text)),
  );
}

it("the cache reads a count once, and caches later writes", async () => {
  const { asked, reader } = storeOf({ running: 3 });
  const counts = new FieldCounts();
  await batch(counts, reader, { running: 1, failed: 1 });
  counts.written();
  expect(await read(counts, reader, "failed", "running")).toEqual([1, 4]);
  await batch(counts, reader, { running: -2 });
  counts.written();
  expect(await read(counts, reader, "running")).toEqual([2]);
  expect(asked).toEqual([["running", "failed"]]);
});

it("the cache separates the counts of different fields", async () => {
  const { reader } = storeOf({ running: 3 });
  const counts = new FieldCounts();
  await batch(counts, reader, { running: 1 });
  counts.written();
  expect(counts.find(FIELD + 1, "running").stored).toBeUndefined();
  expect(counts.find(FIELD, "running").stored).toBe(4);
});

it("the cache discards counts of a batch that was never written, whatever is written next", async () => {
  const { asked, reader } = storeOf({ running: 3 });
  const counts = new FieldCounts();
  await batch(counts, reader, { running: 1 });
  await counts.read(reader, []);
  counts.written();
  expect(await read(counts, reader, "running")).toEqual([3]);
  expect(asked).toEqual([["running"], ["running"]]);
});

it("the cache discards counts of a batch that was never written even if the count is cached", async () => {
  const { reader } = storeOf({ running: 3 });
  const counts = new FieldCounts();
  await batch(counts, reader, { running: 1 });
  counts.written();
  await batch(counts, reader, { running: 5 });
  await batch(counts, reader, { running: 1 });
  counts.written();
  expect(await read(counts, reader, "running")).toEqual([5]);
});

it("the cache holds a bounded number of counts; the rest are read from the index", async () => {
  const { asked, reader } = storeOf({});
  const counts = new FieldCounts();
  const texts = Array.from({ length: 10_000 }, (_, index) => `value ${index}`);
  await batch(counts, reader, Object.fromEntries(texts.map((text) => [text, 1])));
  counts.written();
  await batch(counts, reader, { running: 7 });
  counts.written();
  expect(await read(counts, reader, "running")).toEqual([7]);
  expect(asked).toHaveLength(2);
  await read(counts, reader, ...texts.slice(0, 2));
  expect(asked.at(-1)).toEqual(["value 0", "value 1"]);
});
