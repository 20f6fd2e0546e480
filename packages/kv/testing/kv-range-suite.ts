import { expect, it } from "vitest";
import type { KvRange, KvReader } from "../src/store/kv-store.ts";
import { bytes, del, numbered, put, rowsOf, text, textOf } from "./kv-rows.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";

const keysOf = async (reader: KvReader, range: KvRange) => (await rowsOf(reader, range)).map(([key]) => key);

/** Tests the contract of `range`, as a part of the suite. */
export function kvRangeSuite(bench: KvStoreBench): void {
  const all = ["a", "b", "d", "e"];
  const cases: [string, KvRange, string[]][] = [
    ["everything", {}, all],
    ["gte an existing key", { gte: bytes("b") }, ["b", "d", "e"]],
    ["gte a key between two others", { gte: bytes("c") }, ["d", "e"]],
    ["gte a key before all", { gte: bytes("A") }, all],
    ["gte a key after all", { gte: bytes("f") }, []],
    ["gt", { gt: bytes("b") }, ["d", "e"]],
    ["lt", { lt: bytes("d") }, ["a", "b"]],
    ["lte", { lte: bytes("d") }, ["a", "b", "d"]],
    ["lt a key before all", { lt: bytes("A") }, []],
    ["gte and lt", { gte: bytes("b"), lt: bytes("e") }, ["b", "d"]],
    ["gt and lte", { gt: bytes("a"), lte: bytes("d") }, ["b", "d"]],
    ["bounds that cross", { gte: bytes("e"), lt: bytes("b") }, []],
    ["an empty bound", { gte: new Uint8Array(0) }, all],
  ];

  it.each(cases)("return %s, forwards and backwards", async (_, range, expected) => {
    const store = await bench.open("store");
    await store.batch(all.toReversed().map((key) => put(key, key)));
    expect(await keysOf(store, range)).toEqual(expected);
    expect(await keysOf(store, { ...range, reverse: true })).toEqual(expected.toReversed());
    expect(await keysOf(store, { ...range, limit: 1 })).toEqual(expected.slice(0, 1));
    expect(await keysOf(store, { ...range, reverse: true, limit: 2 })).toEqual(
      expected.toReversed().slice(0, 2),
    );
    expect(await keysOf(store, { ...range, limit: 0 })).toEqual([]);
  });

  it("order keys by their unsigned bytes, a prefix before its extensions", async () => {
    const store = await bench.open("store");
    const keys = [[0], [0, 0], [1], [127], [128], [255], [255, 0], [255, 255]].map((key) =>
      Uint8Array.from(key),
    );
    await store.batch(keys.toReversed().map((key) => ({ type: "put", key, value: key })));
    const found: number[][] = [];
    for await (const rows of store.range({})) found.push(...rows.map(([key]) => [...key]));
    expect(found).toEqual(keys.map((key) => [...key]));
  });

  it("return arrays of bounded size, none of them empty", async () => {
    const store = await bench.open("store");
    const value = "x".repeat(64 * 1024);
    await store.batch(Array.from({ length: 64 }, (_, index) => put(`large ${numbered(index)}`, value)));
    await store.batch(Array.from({ length: 5000 }, (_, index) => put(`small ${numbered(index)}`, "x")));
    let count = 0;
    for await (const rows of store.range({})) {
      expect(rows.length).toBeGreaterThan(0);
      expect(rows.length).toBeLessThanOrEqual(1000);
      count += rows.length;
    }
    expect(count).toBe(5064);
  });

  it("return the state at the time of the call, regardless of later writes", async () => {
    const store = await bench.open("store");
    await store.batch(Array.from({ length: 3000 }, (_, index) => put(numbered(index), "old")));
    const range = store.range({});
    await store.batch(Array.from({ length: 3000 }, (_, index) => put(numbered(index), "new")));
    const seen = new Set<string | undefined>();
    for await (const rows of range) {
      for (const [, value] of rows) seen.add(text(value));
      await store.batch([del(numbered(2999))]);
    }
    expect([...seen]).toEqual(["old"]);
  });

  it("end again if they are read after their end", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    const rows = store.range({})[Symbol.asyncIterator]();
    expect((await rows.next()).done).toBe(false);
    for (const _ of [1, 2]) expect(await rows.next()).toEqual({ done: true, value: undefined });
  });

  it("can be abandoned early without delaying the close of the store", async () => {
    const store = await bench.open("store");
    await store.batch(Array.from({ length: 3000 }, (_, index) => put(numbered(index), "x")));
    for await (const rows of store.range({})) {
      expect(textOf(rows)[0]).toEqual([numbered(0), "x"]);
      break;
    }
    await store.close();
  });
}
