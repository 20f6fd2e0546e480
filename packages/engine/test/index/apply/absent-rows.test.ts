import { type KvOperation, type KvStore, memoryProvider } from "@cairn/kv";
import { afterEach, expect, it } from "vitest";
import { AbsentRows } from "../../../src/index/apply/absent-rows.ts";
import {
  asKind,
  counterRowKey,
  documentRowKey,
  ROW,
  submissionRowKey,
} from "../../../src/index/rows/row-keys.ts";

const VALUE = new Uint8Array([1]);
const ROWS = 20_000;

const opened: KvStore[] = [];
afterEach(async () => {
  for (const kv of opened.splice(0)) await kv.close();
});

/** A store whose every batch `absent` has observed, with rows of three kinds for even numbers. */
async function observed(): Promise<{ kv: KvStore; absent: AbsentRows }> {
  const kv = await memoryProvider().open("/nonexistent/in-memory");
  opened.push(kv);
  const absent = new AbsentRows();
  for (let from = 0; from < ROWS; from += 1_000) {
    const rows: KvOperation[] = [];
    for (let n = from; n < from + 1_000; n += 2)
      for (const key of keysOf(n)) rows.push({ type: "put", key, value: VALUE });
    absent.written(rows);
    await kv.batch(rows);
  }
  return { kv, absent };
}

function keysOf(n: number): Uint8Array[] {
  const document = documentRowKey("jobs", `default/job-${n}`);
  return [
    document,
    asKind(document, ROW.tombstone),
    submissionRowKey(`request-${n}`),
    counterRowKey(`bucket-${n}`),
  ];
}

it("reads the same rows as the store", { tags: "rest/slow" }, async () => {
  const { kv, absent } = await observed();
  const reader = absent.reader(kv);
  for (let n = 0; n < ROWS; n += 7) {
    const keys = keysOf(n);
    const values = await kv.getMany(keys);
    expect(await reader.getMany(keys)).toEqual(values);
    for (const [at, key] of keys.entries()) expect(await reader.get(key)).toEqual(values[at]);
  }
});

it("looks up at most one in a hundred of the absent rows", async () => {
  const { kv, absent } = await observed();
  let lookedUp = 0;
  const reader = absent.reader({
    get: (key) => kv.get(key),
    getMany: (keys) => {
      lookedUp += keys.length;
      return kv.getMany(keys);
    },
    range: (range) => kv.range(range),
  });
  for (let n = 1; n < ROWS; n += 2) await reader.getMany(keysOf(n).slice(0, 3));
  expect(lookedUp).toBeLessThan(((ROWS / 2) * 3) / 100);
});

it("finds a row again that was removed and written again", async () => {
  const { kv, absent } = await observed();
  const reader = absent.reader(kv);
  const [key = new Uint8Array(0)] = keysOf(4);
  for (const type of ["del", "put"] as const) {
    const rows: KvOperation[] = [type === "del" ? { type, key } : { type, key, value: VALUE }];
    absent.written(rows);
    await kv.batch(rows);
    expect(await reader.get(key)).toEqual(type === "del" ? undefined : VALUE);
  }
});
