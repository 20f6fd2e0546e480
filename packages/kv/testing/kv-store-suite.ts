import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KvProvider, KvStore } from "../src/store/kv-store.ts";
import { kvCaptureSuite } from "./kv-capture-suite.ts";
import { kvConcurrencySuite } from "./kv-concurrency-suite.ts";
import { kvLifeSuite } from "./kv-life-suite.ts";
import { kvModelSuite } from "./kv-model-suite.ts";
import { kvPurgeSuite } from "./kv-purge-suite.ts";
import { kvRangeSuite } from "./kv-range-suite.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";
import { bytes, del, numbered, put, rowsOf, text } from "./kv-rows.ts";

/** The properties of an implementation that the suite needs. */
export interface KvStoreSuiteOptions {
  readonly provider: KvProvider;
  /** The folder in which test directories are created. Defaults to the system's directory for temporary files. */
  readonly tempDir?: string;
}

/** Tests the contract of {@link KvStore} and {@link KvProvider}. */
export function kvStoreSuite(name: string, options: KvStoreSuiteOptions): void {
  const { provider } = options;
  let dir: string;
  const stores: KvStore[] = [];
  const bench: KvStoreBench = {
    provider,
    path: (part) => join(dir, part),
    async open(part) {
      const store = await provider.open(join(dir, part));
      stores.push(store);
      return store;
    },
  };
  beforeEach(async () => {
    dir = await mkdtemp(join(options.tempDir ?? tmpdir(), "kv-store-"));
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await rm(dir, { recursive: true, force: true });
  });

  describe(`${name} as a KvStore`, () => {
    describe("reading and writing", () => {
      readingAndWriting(bench);
    });
    describe("ranges", () => {
      kvRangeSuite(bench);
    });
    describe("snapshots", () => {
      snapshots(bench);
    });
    describe("many at a time", () => {
      kvConcurrencySuite(bench);
    });
    describe("opening and closing", () => {
      kvLifeSuite(bench);
    });
    describe("captures", () => {
      kvCaptureSuite(bench);
    });
    describe("purges", () => {
      kvPurgeSuite(bench);
    });
    describe("against a sorted map", () => {
      kvModelSuite(bench);
    });
  });
}

function readingAndWriting(bench: KvStoreBench): void {
  it("returns the value of a key, and undefined for a missing key", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    expect(text(await store.get(bytes("a")))).toBe("1");
    expect(await store.get(bytes("b"))).toBeUndefined();
  });

  it("returns a value or a promise, and reports errors only through promises", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    const snapshot = store.snapshot();
    const given: unknown[] = [store, snapshot].flatMap((reader) =>
      ["a", "b"].map((at) => reader.get(bytes(at))),
    );
    await snapshot.close();
    await store.close();
    const refused = [store, snapshot].map((reader) => reader.get(bytes("a")));
    for (const one of [...given, ...refused]) {
      // Callers distinguish the two in this way, so that they do not await a value.
      expect(one === undefined || one instanceof Uint8Array || one instanceof Promise).toBe(true);
    }
    expect((await Promise.all(given)).map((one) => text(one as Uint8Array | undefined))).toEqual([
      "1",
      undefined,
      "1",
      undefined,
    ]);
    for (const one of refused) await expect(one).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("returns values as strings, decoded as UTF-8, if it supports that", async () => {
    const store = await bench.open("store");
    const values = ["", "plain", "·-é-漢字-😀-\u0000", "x".repeat(100_000), "·".repeat(100_000)];
    const invalid = Uint8Array.of(0x61, 0xff, 0xc3, 0x28, 0xe2, 0x82);
    await store.batch([
      ...values.map((value, index) => put(numbered(index), value)),
      { type: "put", key: bytes("invalid"), value: invalid },
    ]);
    const read = async (key: string): Promise<string | undefined> =>
      store.getText === undefined ? text(await store.get(bytes(key))) : await store.getText(bytes(key));
    for (const [index, value] of values.entries()) expect(await read(numbered(index))).toBe(value);
    expect(await read("invalid")).toBe(Buffer.from(invalid).toString("utf8"));
    expect(await read("nobody")).toBeUndefined();
    // There are more reads than a store completes before it yields, and all complete before it closes.
    const many = Promise.all(Array.from({ length: 1_000 }, () => read(numbered(1))));
    await store.close();
    expect(new Set(await many)).toEqual(new Set(["plain"]));
    await expect(read(numbered(1))).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("preserves all bytes: empty values, zeros, and values of a megabyte", async () => {
    const store = await bench.open("store");
    const large = new Uint8Array(1 << 20).map((_, index) => (index * 31) & 0xff);
    const key = Uint8Array.of(0, 255, 0);
    await store.batch([
      { type: "put", key, value: large },
      { type: "put", key: bytes("empty"), value: new Uint8Array(0) },
    ]);
    expect(Buffer.compare((await store.get(key)) ?? new Uint8Array(0), large)).toBe(0);
    expect((await store.get(bytes("empty")))?.length).toBe(0);
  });

  it("copies keys and values, so that callers may reuse their buffers", async () => {
    const store = await bench.open("store");
    const key = bytes("key");
    const value = bytes("before");
    await store.batch([{ type: "put", key, value }]);
    key.fill(0);
    value.fill(0);
    expect(await rowsOf(store)).toEqual([["key", "before"]]);
  });

  it("accepts buffers that are views into larger ones", async () => {
    const store = await bench.open("store");
    const large = bytes("xxkeyvaluexx");
    await store.batch([{ type: "put", key: large.subarray(2, 5), value: large.subarray(5, 10) }]);
    expect(text(await store.get(large.subarray(2, 5)))).toBe("value");
  });

  it("removes a key, and does nothing for a missing one", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1"), put("b", "2")]);
    await store.batch([del("a"), del("never")]);
    expect(await rowsOf(store)).toEqual([["b", "2"]]);
  });

  it("applies the last of several changes to a key in a batch", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1"), del("a"), put("a", "2"), put("b", "1"), del("b")]);
    expect(await rowsOf(store)).toEqual([["a", "2"]]);
  });

  it("does nothing for an empty batch", async () => {
    const store = await bench.open("store");
    await store.batch([]);
    await store.batch([], { sync: true });
    expect(await rowsOf(store)).toEqual([]);
  });

  it("writes nothing of a batch in which a change has no key", async () => {
    const store = await bench.open("store");
    const broken = { type: "del", key: undefined } as unknown as ReturnType<typeof del>;
    await expect(store.batch([put("a", "1"), broken])).rejects.toThrow(/key|undefined/i);
    expect(await rowsOf(store)).toEqual([]);
    await store.batch([put("b", "1")]);
    expect(await rowsOf(store)).toEqual([["b", "1"]]);
  });

  it("returns many values in the order of the requested keys, with undefined for missing ones", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1"), put("b", "2")]);
    const keys = [bytes("b"), bytes("none"), bytes("a"), bytes("b")];
    expect((await store.getMany(keys)).map(text)).toEqual(["2", undefined, "1", "2"]);
    expect(await store.getMany([])).toEqual([]);
  });

  it("removes five hundred rows in a different order from the one in which they were added", async () => {
    const store = await bench.open("store");
    await store.batch(Array.from({ length: 500 }, (_, index) => put(numbered(index), "x")));
    for (let index = 0; index < 520; index++) await store.batch([del(numbered((index * 197) % 520))]);
    expect(await rowsOf(store)).toEqual([]);
  });

  it("keeps all rows through a compaction", async () => {
    const store = await bench.open("store");
    const rows = Array.from({ length: 1000 }, (_, index) => put(numbered(index), `value ${index}`));
    await store.batch(rows);
    await store.batch(rows.slice(0, 500).map((row) => ({ type: "del", key: row.key })));
    await store.compact();
    expect((await rowsOf(store)).length).toBe(500);
    expect(text(await store.get(bytes(numbered(500))))).toBe("value 500");
  });
}

function snapshots(bench: KvStoreBench): void {
  it("keeps a snapshot unchanged, for get, getMany and ranges", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1"), put("b", "1")]);
    const snapshot = store.snapshot();
    await store.batch([put("a", "2"), del("b"), put("c", "2")]);
    await store.compact();
    expect(text(await snapshot.get(bytes("a")))).toBe("1");
    expect((await snapshot.getMany([bytes("b"), bytes("c")])).map(text)).toEqual(["1", undefined]);
    expect(await rowsOf(snapshot)).toEqual([
      ["a", "1"],
      ["b", "1"],
    ]);
    await snapshot.close();
    expect(await rowsOf(store)).toEqual([
      ["a", "2"],
      ["c", "2"],
    ]);
  });

  it("refuses to read a closed snapshot, which can be closed twice", async () => {
    const store = await bench.open("store");
    const snapshot = store.snapshot();
    await snapshot.close();
    await snapshot.close();
    await expect(snapshot.get(bytes("a"))).rejects.toMatchObject({ code: "NOT_READY" });
    await expect(snapshot.getMany([bytes("a")])).rejects.toMatchObject({ code: "NOT_READY" });
    await expect(rowsOf(snapshot)).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("closes a store although a snapshot is still open", async () => {
    const store = await bench.open("store");
    const snapshot = store.snapshot();
    await store.close();
    await expect(snapshot.get(bytes("a"))).rejects.toMatchObject({ code: "NOT_READY" });
    await snapshot.close();
  });
}
