import { expect, it } from "vitest";
import { bytes, numbered, put, rowsOf } from "./kv-rows.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";

/** Tests the contract of `open`, `stats` and `close`, as a part of the suite. */
export function kvLifeSuite(bench: KvStoreBench): void {
  it("starts empty in a missing or empty directory", async () => {
    const store = await bench.open("deep/er/store");
    expect(await rowsOf(store)).toEqual([]);
  });

  it("still has every row after it is closed and reopened, if it is persistent", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")], { sync: true });
    await store.batch([put("b", "2")]);
    await store.close();
    const again = await bench.open("store");
    expect((await rowsOf(again)).length).toBe(bench.provider.persistent ? 2 : 0);
  });

  it("reports its size", async () => {
    const store = await bench.open("store");
    await store.batch(Array.from({ length: 100 }, (_, index) => put(numbered(index), "x".repeat(1000))));
    const { bytes: size, files } = await store.stats();
    if (bench.provider.persistent) expect(size).toBeGreaterThan(50);
    else expect([size, files]).toEqual([0, 0]);
  });

  it("refuses everything once it is closed, and can be closed twice", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    await Promise.all([store.close(), store.close()]);
    await store.close();
    const notReady = { code: "NOT_READY" };
    await expect(store.get(bytes("a"))).rejects.toMatchObject(notReady);
    await expect(store.getMany([bytes("a")])).rejects.toMatchObject(notReady);
    await expect(rowsOf(store)).rejects.toMatchObject(notReady);
    await expect(store.batch([put("a", "2")])).rejects.toMatchObject(notReady);
    await expect(store.capture(bench.path("capture"))).rejects.toMatchObject(notReady);
    await expect(store.compact()).rejects.toMatchObject(notReady);
    await expect(store.stats()).rejects.toMatchObject(notReady);
    expect(() => store.snapshot()).toThrow(expect.objectContaining(notReady));
  });

  it("finishes running batches before it closes", async () => {
    const store = await bench.open("store");
    const writes = Array.from({ length: 20 }, (_, index) => store.batch([put(numbered(index), "x")]));
    await Promise.all([...writes, store.close()]);
    if (!bench.provider.persistent) return;
    expect((await rowsOf(await bench.open("store"))).length).toBe(20);
  });

  it("finishes running reads before it closes", async () => {
    const store = await bench.open("store");
    // More rows than a store reads before it yields.
    const names = Array.from({ length: 1_000 }, (_, index) => numbered(index));
    await store.batch(names.map((name) => put(name, "x")));
    const reads = names.map((name) => store.get(bytes(name)));
    const [values] = await Promise.all([Promise.all(reads), store.close()]);
    expect(values.map((value) => Buffer.from(value ?? []).toString())).toEqual(values.map(() => "x"));
  });
}
