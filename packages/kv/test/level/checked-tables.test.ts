import { existsSync } from "node:fs";
import { cp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { KvScrub, KvStore } from "../../src/store/kv-store.ts";
import { countedBatch, expectWhole } from "../../testing/counted-rows.ts";
import { testDirectory } from "../support/test-directory.ts";
import { FEW, MANY, type WrittenRows, writtenStores } from "../support/written-stores.ts";

const directory = testDirectory();
const stores = writtenStores();
const CORRUPT = { code: "INDEX_CORRUPT" };
const FOOTER_BYTES = 48;

async function tables(): Promise<string[]> {
  const names = await readdir(directory.path("store"));
  return names.filter((name) => name.endsWith(".ldb")).map((name) => directory.path("store", name));
}

/** Makes a closed store with its rows in tables. */
async function written(content: WrittenRows): Promise<void> {
  await stores.copy(directory.path("store"), content);
}

async function flip(path: string, place: (bytes: Buffer) => number): Promise<void> {
  const bytes = await readFile(path);
  const at = place(bytes);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0x10, at);
  await writeFile(path, bytes);
}

const inTheFirstKey = (): number => 5;
const inTheIndexBlock = (bytes: Buffer): number => bytes.length - FOOTER_BYTES - 12;

async function damage(place: (bytes: Buffer) => number = inTheFirstKey): Promise<void> {
  await flip((await tables())[0] ?? "", place);
}

async function openChecked(): Promise<KvStore> {
  return await directory.open("store", { compression: false }, { check: true });
}

describe("the check of tables of an earlier process when a store is opened", () => {
  it.each([
    ["a key", false, inTheFirstKey],
    ["a compressed block", true, inTheFirstKey],
    ["the index of the blocks", true, inTheIndexBlock],
  ])("is INDEX_CORRUPT if a byte of %s has changed", async (_, compression, place) => {
    await written({ ...FEW, compression });
    await damage(place);
    await expect(openChecked()).rejects.toMatchObject(CORRUPT);
  });

  it.each([
    ["few", FEW],
    ["many", MANY],
  ])("reports undamaged tables, with %s rows", async (_, content) => {
    await written(content);
    const store = await openChecked();
    const progress: [number, number][] = [];
    await store.checked?.((done, total) => progress.push([done, total]));
    expect(await expectWhole(store)).toBe(content.rows);
    expect(existsSync(directory.path("store", "unchecked"))).toBe(false);
    // Few tables are compared before the caller waits.
    const [done, total] = progress.at(-1) ?? [1, 1];
    expect(done).toBeGreaterThan(0.9 * total);
  });

  it("is soon INDEX_CORRUPT for readers and callers that wait for the check, with many rows", async () => {
    await written(MANY);
    await damage();
    const store = await openChecked();
    await expect(store.checked?.()).rejects.toMatchObject(CORRUPT);
    await expect(store.get(Buffer.from("count"))).rejects.toMatchObject(CORRUPT);
    await expect(store.batch(countedBatch(MANY.rows, 1, 4))).rejects.toMatchObject(CORRUPT);
  });

  it("detects damage in tables that a compaction rewrote before they were compared", async () => {
    await written(MANY);
    await damage();
    await (await openChecked()).close();
    const unknowing = await directory.open("store", { compression: false });
    await unknowing.batch(countedBatch(0, 100, 300));
    // The result of the background check does not matter here.
    await unknowing.compact().catch(() => undefined);
    await unknowing.close();
    await expect(openChecked()).rejects.toMatchObject(CORRUPT);
  });

  it("compares all tables first if a process ended before they were compared", async () => {
    await written(MANY);
    await (await openChecked()).close();
    // LevelDB can end a process in this way because of a key in a table that it merges after it has opened the
    // database.
    await damage();
    await expect(openChecked()).rejects.toMatchObject(CORRUPT);
  });

  it("can be followed by closing before all tables are compared, and the next opening compares them", async () => {
    await written(MANY);
    const store = await openChecked();
    const [checked] = await Promise.allSettled([store.checked?.(), store.close()]);
    expect(checked).toMatchObject({ status: "rejected", reason: { code: "NOT_READY" } });
    const again = await openChecked();
    await again.checked?.();
    expect(await expectWhole(again)).toBe(MANY.rows);
  });
});

/** Scrubs the whole store without pauses. `meanwhile` is called after the first piece. */
function scrub(
  store: KvStore,
  meanwhile: KvScrub["pause"] = () => Promise.resolve(),
  { signal } = new AbortController(),
): Promise<number> | undefined {
  let isFirst = true;
  const pause: KvScrub["pause"] = async (...piece) => {
    if (isFirst) {
      isFirst = false;
      await meanwhile(...piece);
    }
  };
  return store.scrub?.({ pause, signal });
}

describe("a scrub of an open store", () => {
  it("compares the bytes of all tables, and reports its progress", async () => {
    await written(FEW);
    const store = await directory.open("store");
    let bytes = 0;
    for (const table of await tables()) bytes += (await readFile(table)).length;
    const { signal } = new AbortController();
    const told: number[] = [];
    const pause: KvScrub["pause"] = (done, total) => {
      expect(total).toBe(bytes);
      told.push(done);
      return Promise.resolve();
    };
    expect(await store.scrub?.({ pause, signal })).toBe(bytes);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect(told.at(-1)).toBeGreaterThan(0.9 * bytes);
  });

  it.each([
    ["a key", inTheFirstKey],
    ["the index of the blocks", inTheIndexBlock],
  ])("detects a changed byte of %s, and all readers receive an error afterwards", async (_, place) => {
    await written(FEW);
    const store = await directory.open("store");
    await scrub(store);
    await damage(place);
    await expect(scrub(store)).rejects.toMatchObject(CORRUPT);
    await expect(store.get(Buffer.from("count"))).rejects.toMatchObject(CORRUPT);
    await expect(store.batch(countedBatch(FEW.rows, 1, 4))).rejects.toMatchObject(CORRUPT);
  });

  it("detects a damaged manifest and a missing table", async () => {
    await written(FEW);
    const store = await directory.open("store");
    const [manifest = ""] = (await readdir(directory.path("store"))).filter((name) =>
      name.startsWith("MANIFEST"),
    );
    await flip(directory.path("store", manifest), () => 10);
    await expect(scrub(store)).rejects.toMatchObject(CORRUPT);
    await flip(directory.path("store", manifest), () => 10);
    await store.close();
    const again = await directory.open("store");
    await rm((await tables()).at(-1) ?? "");
    await expect(scrub(again)).rejects.toMatchObject(CORRUPT);
  });

  it("skips tables that a compaction removes in the meantime", async () => {
    const { rows, valueBytes } = { rows: 1500, valueBytes: 4000 };
    await written({ rows, valueBytes, compression: false });
    const store = await directory.open("store", { writeBufferSize: 64 * 1024, compression: false });
    const before = await tables();
    expect(before.length).toBeGreaterThan(1);
    const compared = await scrub(store, async () => {
      for (let count = 0; count < rows; count += 100) await store.batch(countedBatch(count, 100, valueBytes));
      await store.compact();
    });
    expect(before.filter((table) => existsSync(table))).toEqual([]);
    // Only the table that was already open is compared.
    expect(compared).toBeGreaterThan(0);
    expect(await expectWhole(store)).toBe(rows);
  });

  it("ends when it is aborted, and when the store is closed", async () => {
    await written(FEW);
    const store = await directory.open("store");
    const stop = new AbortController();
    const reason = new Error("enough");
    const aborted = scrub(store, () => Promise.resolve(stop.abort(reason)), stop);
    await expect(aborted).rejects.toBe(reason);
    let closing: Promise<void> | undefined;
    const closed = scrub(store, async (_done, _total, ended) => {
      closing = store.close();
      while (!ended.aborted) await setImmediate();
    });
    await expect(closed).rejects.toMatchObject({ code: "NOT_READY" });
    await closing;
  });

  it("does not check files that have replaced the store's files", async () => {
    await written(FEW);
    const store = await directory.open("store");
    await rename(directory.path("store"), directory.path("elsewhere"));
    await cp(directory.path("elsewhere"), directory.path("store"), { recursive: true });
    await damage();
    expect(await scrub(store)).toBe(0);
  });
});
