import { readdir, readFile, writeFile } from "node:fs/promises";
import { describe, expect, it, vi } from "vitest";
import { checkLiveTables } from "../../src/tables/check-named-tables.ts";
import { checkTable, checkTableBytes, TRAILER_BYTES } from "../../src/tables/check-table.ts";
import { isCairnError } from "../../src/errors/errors.ts";
import { crc32c } from "../../src/files/crc32c.ts";
import type { KvStore } from "../../src/store/kv-store.ts";
import { unsnappy } from "../../src/files/snappy.ts";
import { countedBatch, expectWhole } from "../../testing/counted-rows.ts";
import { testDirectory } from "../support/test-directory.ts";
import { FEW, MANY, type WrittenRows, writtenStores } from "../support/written-stores.ts";

const directory = testDirectory();
const stores = writtenStores();
const CORRUPT = { code: "INDEX_CORRUPT" };
// A table ends with 48 bytes that no checksum covers. The last 8 bytes are the same in every table.
const MAGIC_BYTES = 8;
const FOOTER_BYTES = 48;
const SMALL: WrittenRows = { rows: 500, valueBytes: 300 };

/** Makes a closed store, and returns its tables. */
async function tablesOf(content: WrittenRows): Promise<string[]> {
  await stores.copy(directory.path("store"), content);
  const names = await readdir(directory.path("store"));
  return names.filter((name) => name.endsWith(".ldb")).map((name) => directory.path("store", name));
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0x10, at);
  await writeFile(path, bytes);
}

/** Returns the number of rows that are unchanged, or the error that ended reading. */
async function readAll(store: KvStore): Promise<unknown> {
  try {
    return await expectWhole(store);
  } catch (error) {
    return error;
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

/** Returns a block with its checksum. */
function sealed(content: Buffer): Buffer {
  const block = Buffer.concat([content, Buffer.alloc(TRAILER_BYTES)]);
  const crc = crc32c(block, 0, content.length + 1);
  // LevelDB rotates and offsets checksums (kMaskDelta of its util/crc32c.h).
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  block.writeUInt32LE(masked, content.length + 1);
  return block;
}

/** Returns an index that names `blocks`, as LevelDB writes it, with one restart point. */
function indexOf(blocks: readonly { readonly offset: number; readonly size: number }[]): Buffer {
  const entries = blocks.map(({ offset, size }) => {
    const handle = Buffer.concat([varint(offset), varint(size)]);
    return Buffer.concat([Buffer.from([0, 0, handle.length]), handle]);
  });
  return Buffer.concat([...entries, Buffer.from([0, 0, 0, 0, 1, 0, 0, 0])]);
}

/** Returns a table with an empty block of 4 bytes, and with `index`. */
function forgedTable(index: Buffer): Buffer {
  const empty = Buffer.from([0, 0, 0, 0]);
  const blocks = Buffer.concat([sealed(empty), sealed(index)]);
  const roots = [0, empty.length, empty.length + TRAILER_BYTES, index.length].map((number) => varint(number));
  const footer = Buffer.alloc(FOOTER_BYTES);
  Buffer.concat(roots).copy(footer);
  footer.writeUInt32LE(0x8b80fb57, 40);
  footer.writeUInt32LE(0xdb477524, 44);
  return Buffer.concat([blocks, footer]);
}

/** Compares a table with its checksums, on disk and in memory. */
const checks: readonly [string, (table: string) => Promise<void>][] = [
  ["on disk", checkTable],
  ["in memory", async (table) => checkTableBytes(table, await readFile(table), () => undefined)],
];

describe.each(checks)("a table %s", (_where, check) => {
  it.each([true, false])(
    "is intact in the state in which LevelDB wrote it, compressed: %s",
    async (compression) => {
      const tables = await tablesOf({ ...FEW, compression });
      expect(tables.length).toBeGreaterThan(0);
      for (const table of tables) await check(table);
    },
  );

  it.each([true, false])("is INDEX_CORRUPT with any bit flipped, compressed: %s", async (compression) => {
    const [table = ""] = await tablesOf({ ...SMALL, compression });
    const intact = await readFile(table);
    const { length } = intact;
    const footer = length - FOOTER_BYTES;
    const places = [0, 1, footer - 1, footer - 2, footer - 6, length - 1, length - MAGIC_BYTES];
    for (let at = 7; at < footer; at += Math.ceil(length / 60)) places.push(at);
    for (const at of places) {
      const damaged = Buffer.from(intact);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0x10, at);
      await writeFile(table, damaged);
      await expect(check(table), `byte ${at} of ${length}`).rejects.toMatchObject(CORRUPT);
    }
    await writeFile(table, intact);
    await check(table);
  });

  it.each([0, 20, 48, 5000])("is INDEX_CORRUPT if only %i bytes remain", async (bytes) => {
    const [table = ""] = await tablesOf(SMALL);
    await writeFile(table, (await readFile(table)).subarray(0, bytes));
    await expect(check(table)).rejects.toMatchObject(CORRUPT);
  });

  // The checksums of all of them are correct.
  it.each<[string, Buffer]>([
    ["a block of 2 GiB", indexOf([{ offset: 0, size: 2 ** 31 }])],
    ["a block beyond its end", indexOf([{ offset: 1000, size: 5 }])],
    ["one block many times", indexOf(Array.from({ length: 20_000 }, () => ({ offset: 0, size: 4 })))],
    ["more restart points than it has bytes", Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ["less than a number", Buffer.from([0])],
  ])("is INDEX_CORRUPT if a forged index names %s", async (_what, index) => {
    const table = directory.path("000005.ldb");
    await writeFile(table, forgedTable(index));
    await expect(check(table)).rejects.toMatchObject(CORRUPT);
  });

  it("is intact if a forged index names its own block", async () => {
    const table = directory.path("000005.ldb");
    await writeFile(table, forgedTable(indexOf([{ offset: 0, size: 4 }])));
    await check(table);
  });
});

describe("a store with a damaged table", () => {
  // The larger store is compared on a worker thread.
  it.each([
    ["few", FEW],
    ["many", MANY],
  ])(
    "stops serving from the table of %s rows soon after the store is opened",
    { tags: "rest/slow" },
    async (_, content) => {
      const tables = await tablesOf(content);
      await flip(tables.at(-1) ?? "", 2000);
      const store = await directory.open("store");
      // A thread with low priority has to wait on a busy machine.
      await vi.waitFor(async () => expect(await readAll(store)).toSatisfy(isCairnError), 150_000);
      await expect(store.get(Buffer.from("count"))).rejects.toMatchObject(CORRUPT);
      // There are more reads than this thread would perform.
      const texts = Array.from({ length: 300 }, () => store.getText?.(Buffer.from("count")));
      for (const read of await Promise.allSettled(texts))
        expect(read).toMatchObject({ status: "rejected", reason: CORRUPT });
      await expect(store.getMany([Buffer.from("count")])).rejects.toMatchObject(CORRUPT);
      expect(() => store.range({})).toThrow(expect.objectContaining(CORRUPT));
      expect(() => store.snapshot()).toThrow(expect.objectContaining(CORRUPT));
      await expect(store.batch(countedBatch(3000, 1, 4))).rejects.toMatchObject(CORRUPT);
      await store.close();
    },
  );

  it("is not captured, and leaves no partial capture", async () => {
    // Tables of an earlier process would be compared in the background, and the damage could be found there.
    const store = await directory.open("store");
    for (let count = 0; count < 500; count += 100) await store.batch(countedBatch(count, 100, 300));
    await store.compact();
    const names = await readdir(directory.path("store"));
    const table = names.filter((name) => name.endsWith(".ldb")).at(-1) ?? "";
    await flip(directory.path("store", table), 1000);
    await expect(store.capture(directory.path("capture"))).rejects.toMatchObject(CORRUPT);
    expect(await readdir(directory.path())).not.toContain("capture");
    await flip(directory.path("store", table), 1000);
    await store.capture(directory.path("capture"));
  });

  it.each([
    ["few", FEW],
    ["many", MANY],
  ])("can be closed while its tables are still being compared, with %s rows", async (_, content) => {
    await tablesOf(content);
    for (let count = 0; count < 5; count += 1) await (await directory.open("store")).close();
    expect(await expectWhole(await directory.open("store"))).toBe(content.rows);
  });

  it("is not considered damaged if its tables are intact, however large", { tags: "rest/slow" }, async () => {
    const tables = await tablesOf(MANY);
    await checkLiveTables(directory.path("store"), new AbortController().signal);
    await flip(tables[0] ?? "", 5000);
    const checked = checkLiveTables(directory.path("store"), new AbortController().signal);
    await expect(checked).rejects.toMatchObject(CORRUPT);
    const stopped = new AbortController();
    const stopping = checkLiveTables(directory.path("store"), stopped.signal);
    stopped.abort();
    await stopping;
  });
});

describe("a block compressed with Snappy", () => {
  it("is decompressed with literals, and with copies that overlap themselves", () => {
    // The block represents 12 bytes: the literal "abc", and nine bytes that are copied from three bytes earlier.
    expect(unsnappy(Uint8Array.of(12, 8, 97, 98, 99, (8 << 2) | 2, 3, 0))).toEqual(
      Uint8Array.from(Buffer.from("abcabcabcabc")),
    );
  });

  it.each([
    ["nothing", []],
    ["a length without an end", [0x80, 0x80]],
    ["a truncated literal", [4, 12, 97]],
    ["a copy from before its beginning", [8, 0, 97, 2 << 2, 9]],
    ["more bytes than its stated length", [1, 4, 97, 98]],
    ["fewer bytes than its stated length", [9, 0, 97]],
    ["a length for which no memory should be allocated", [0xff, 0xff, 0xff, 0xff, 0x0f, 0]],
  ])("is invalid with %s", (_, bytes) => {
    expect(unsnappy(Uint8Array.from(bytes))).toBeUndefined();
  });
});
