import { readFile, readdir } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { crc32c } from "../../src/files/crc32c.ts";
import { decodeLevelManifest } from "../../src/files/level-manifest.ts";
import { countedBatch } from "../../testing/counted-rows.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();

/** Returns the manifest of a database with some tables. Their keys may be so long that edits span several blocks. */
async function realManifest(keyBytes: number): Promise<{ bytes: Buffer; names: string[] }> {
  const store = await directory.open("store");
  for (let count = 0; count < 9000; count += 100) {
    const operations = countedBatch(count, 100, 300);
    const long = Buffer.alloc(keyBytes, `key ${count} `);
    await store.batch([...operations, { type: "put", key: long, value: Uint8Array.of(1) }]);
    // Without these compactions, the number of edits would depend on the disk's speed.
    if (count % 3000 === 0) await store.compact();
  }
  // Afterwards, nothing runs in the background, so the names and the manifest agree.
  await store.compact();
  await store.close();
  const names = await readdir(directory.path("store"));
  const current = (await readFile(directory.path("store", "CURRENT"), "utf8")).trim();
  return { bytes: await readFile(directory.path("store", current)), names };
}

describe("the manifest of a LevelDB database", () => {
  it.each([10, 20_000])("names exactly the existing tables, with keys of %i bytes", async (keyBytes) => {
    const { bytes, names } = await realManifest(keyBytes);
    const manifest = decodeLevelManifest(bytes);
    const tables = names.filter((name) => name.endsWith(".ldb")).map((name) => Number.parseInt(name, 10));
    expect([...manifest.tables.keys()].toSorted((a, b) => a - b)).toEqual(tables.toSorted((a, b) => a - b));
    expect(tables.length).toBeGreaterThan(0);
    expect(manifest.comparator).toBe("leveldb.BytewiseComparator");
    expect(manifest.nextFile).toBeGreaterThan(Math.max(20, ...tables));
    expect(manifest.lastSequence).toBe(90 * 102);
    expect(manifest.end).toBe(bytes.length);
    const logs = names.filter((name) => name.endsWith(".log")).map((name) => Number.parseInt(name, 10));
    expect(Math.min(...logs)).toBeGreaterThanOrEqual(manifest.logNumber);
  });

  it("is read up to its last complete edit, wherever it is cut off", async () => {
    const { bytes } = await realManifest(20_000);
    const ends = new Set<number>();
    const refused: number[] = [];
    const read: number[] = [];
    for (let length = bytes.length; length > 0; length -= 1013) {
      const cut = Buffer.from(bytes.subarray(0, length));
      try {
        const { end } = decodeLevelManifest(cut);
        expect(end).toBeLessThanOrEqual(length);
        expect(decodeLevelManifest(bytes.subarray(0, end)).end).toBe(end);
        ends.add(end);
        read.push(length);
      } catch (error) {
        // The manifest was cut off before the first edit that contains all numbers.
        expect(error).toMatchObject({ code: "INDEX_CORRUPT" });
        refused.push(length);
      }
    }
    expect(ends.size).toBeGreaterThan(1);
    expect(Math.max(0, ...refused)).toBeLessThan(Math.min(...read));
  });

  it("is INDEX_CORRUPT with any bit flipped before its last record, and never names a different set of tables", async () => {
    const { bytes } = await realManifest(10);
    const whole = decodeLevelManifest(bytes);
    for (let index = 0; index < bytes.length; index += 3) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(index) ^ (1 << (index % 8)), index);
      try {
        // A length that grew past the end of the file looks like an edit that is being written.
        const { tables, end } = decodeLevelManifest(damaged);
        expect(end).toBeLessThan(whole.end);
        expect(tables).toEqual(decodeLevelManifest(bytes.subarray(0, end)).tables);
      } catch (error) {
        expect(error).toMatchObject({ code: "INDEX_CORRUPT" });
      }
    }
  });

  it.each([
    ["no bytes", Buffer.alloc(0)],
    ["zeros", Buffer.alloc(40_000)],
    ["text", Buffer.from("This is no manifest. ".repeat(4000))],
  ])("is INDEX_CORRUPT when it is %s", (_, bytes) => {
    expect(() => decodeLevelManifest(bytes)).toThrow(expect.objectContaining({ code: "INDEX_CORRUPT" }));
  });
});

describe("CRC-32C", () => {
  it("has the check value of the standard and the values of RFC 3720", () => {
    expect(crc32c(Buffer.from("_123456789_"), 1, 10)).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32), 0, 32)).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff), 0, 32)).toBe(0x62a8ab43);
  });
});
