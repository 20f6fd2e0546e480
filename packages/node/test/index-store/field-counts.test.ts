import type { KvReader } from "@cairn/kv";
import { expect, it } from "vitest";
import { FieldCounts } from "../../src/index-store/field-counts.ts";
import { encodeNumber } from "../../src/index-store/row-values.ts";

const RUNNING = Buffer.from("running");
const FAILED = Buffer.from("failed");

/** A store whose rows say how many documents have a value; `asked` are those that were read from it. */
function storeOf(rows: Readonly<Record<string, number>>) {
  const asked: string[][] = [];
  const reader: Pick<KvReader, "getMany"> = {
    getMany: (keys) => {
      const names = keys.map((key) => Buffer.from(key).toString());
      asked.push(names);
      return Promise.resolve(
        names.map((name) => {
          const count = rows[name];
          return count === undefined ? undefined : encodeNumber(count);
        }),
      );
    },
  };
  return { asked, reader: reader as KvReader };
}

it("reads a count once, and knows what was written since", async () => {
  const { asked, reader } = storeOf({ running: 3 });
  const counts = new FieldCounts();
  expect(await counts.read(reader, [RUNNING, FAILED])).toEqual([3, 0]);
  counts.set(RUNNING, 4);
  counts.set(FAILED, 1);
  counts.written();
  expect(await counts.read(reader, [FAILED, RUNNING])).toEqual([1, 4]);
  expect(asked).toEqual([["running", "failed"]]);
});

it("what was set for a batch that was never written does not count, whatever is written next", async () => {
  const { asked, reader } = storeOf({ running: 3 });
  const counts = new FieldCounts();
  await counts.read(reader, [RUNNING]);
  counts.set(RUNNING, 4);
  await counts.read(reader, []);
  counts.written();
  expect(await counts.read(reader, [RUNNING])).toEqual([3]);
  expect(asked).toEqual([["running"], ["running"]]);
});

it("knows a bounded number of counts, and reads the others", async () => {
  const { asked, reader } = storeOf({});
  const counts = new FieldCounts();
  const keys = Array.from({ length: 10_000 }, (_, index) => Buffer.from(`value ${index}`));
  await counts.read(reader, keys);
  for (const key of keys) counts.set(key, 1);
  counts.written();
  await counts.read(reader, [RUNNING]);
  counts.set(RUNNING, 7);
  counts.written();
  expect(await counts.read(reader, [RUNNING])).toEqual([7]);
  expect(asked).toHaveLength(2);
  await counts.read(reader, keys.slice(0, 2));
  expect(asked.at(-1)).toEqual(["value 0", "value 1"]);
});
