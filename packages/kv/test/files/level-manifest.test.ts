import { readFile, readdir, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c, maskCrc } from "../../src/files/crc32c.ts";
import { currentManifestPath, readCurrentManifest } from "../../src/files/current-manifest.ts";
import {
  decodeLevelManifest,
  encodeLevelManifest,
  type LevelManifest,
} from "../../src/files/level-manifest.ts";
import { BLOCK_BYTES, HEADER_BYTES, recordsOf } from "../../src/files/level-records.ts";
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

/** Returns the offset after the last complete edit. */
function endOf(bytes: Uint8Array): number {
  return recordsOf(bytes).end;
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
        const manifest = decodeLevelManifest(cut);
        const end = endOf(cut);
        expect(end).toBeLessThanOrEqual(length);
        expect(decodeLevelManifest(bytes.subarray(0, end))).toEqual(manifest);
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
    const whole = endOf(bytes);
    for (let index = 0; index < bytes.length; index += 3) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(index) ^ (1 << (index % 8)), index);
      try {
        // A length that grew past the end of the file looks like an edit that is being written.
        const { tables } = decodeLevelManifest(damaged);
        const end = endOf(damaged);
        expect(end).toBeLessThan(whole);
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

/** An entry of a version edit: a tag, and its numbers and keys. */
type Entry = readonly (number | Uint8Array)[];

const NUMBER = fc.oneof(fc.nat(300), fc.maxSafeNat());
// A key may be longer than a block.
const KEY = fc
  .tuple(fc.oneof(fc.nat(40), fc.nat(40_000)), fc.uint8Array({ minLength: 9, maxLength: 20 }))
  .map(([length, end]) => Buffer.concat([Buffer.alloc(length, end), end]));
const LEVEL = fc.nat(6);
// There are few numbers, so that tables are removed, added again and moved.
const FILE = fc.nat(50);
const ENTRY: fc.Arbitrary<Entry> = fc.oneof(
  fc.tuple(fc.constantFrom(2, 3, 4, 9), NUMBER),
  fc.tuple(fc.constant(5), LEVEL, KEY),
  { weight: 2, arbitrary: fc.tuple(fc.constant(6), LEVEL, FILE) },
  { weight: 4, arbitrary: fc.tuple(fc.constant(7), LEVEL, FILE, NUMBER, KEY, KEY) },
);
/** An edit with everything that a manifest must contain. */
const BEGIN: readonly Entry[] = [
  [1, Buffer.from("leveldb.BytewiseComparator")],
  [2, 3],
  [3, 4],
  [4, 0],
];

function encoded(parts: Entry): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => (typeof part === "number" ? [varint(part)] : [varint(part.length), part])),
  );
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
  return Buffer.from([...bytes, left]);
}

/** Returns a file with these records, as LevelDB's writer splits them. */
function fileOf(records: readonly Uint8Array[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const record of records) {
    for (let from = 0; from === 0 || from < record.length;) {
      const left = BLOCK_BYTES - (at % BLOCK_BYTES);
      if (left < HEADER_BYTES) parts.push(Buffer.alloc(left));
      if (left < HEADER_BYTES) at += left;
      const room = BLOCK_BYTES - (at % BLOCK_BYTES) - HEADER_BYTES;
      const payload = record.subarray(from, from + room);
      const isLast = from + room >= record.length;
      const type = from === 0 ? (isLast ? 1 : 2) : isLast ? 4 : 3;
      const part = Buffer.concat([
        Buffer.from([0, 0, 0, 0, payload.length & 255, payload.length >> 8, type]),
        payload,
      ]);
      part.writeUInt32LE(maskCrc(crc32c(part, 6, part.length)));
      parts.push(part);
      at += part.length;
      from += room;
    }
  }
  return Buffer.concat(parts);
}

/** What a list of edits comes to: the encoded entries that count, by what they are about. */
function leftOf(edits: readonly (readonly Entry[])[]): Map<string, Buffer> {
  const left = new Map<string, Buffer>();
  for (const edit of edits) {
    for (const [tag, , file] of edit) if (tag === 6) left.delete(`7 ${String(file)}`);
    for (const entry of edit) {
      const [tag, level, file] = entry;
      if (tag === 7) left.set(`7 ${String(file)}`, encoded(entry));
      else if (tag === 5) left.set(`5 ${String(level)}`, encoded(entry));
      else if (tag !== 6) left.set(String(tag), encoded(entry));
    }
  }
  return left;
}

/** Comparing long texts is much faster than comparing arrays. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

function textsOf(entries: ReadonlyMap<unknown, Uint8Array>): Map<unknown, string> {
  return new Map([...entries].map(([kind, bytes]) => [kind, textOf(bytes)]));
}

function shown(manifest: LevelManifest): unknown {
  const { comparator, logNumber, nextFile, lastSequence, pointers } = manifest;
  const tables = [...manifest.tables].map(([file, { first, last, entry, ...table }]) => ({
    ...table,
    file,
    keys: [first, last, entry].map(textOf),
  }));
  return {
    numbers: [logNumber, nextFile, lastSequence],
    comparator,
    tables: new Set(tables),
    pointers: textsOf(pointers),
  };
}

describe("a manifest that is encoded as one version edit", () => {
  it("contains what all edits come to, whatever they are", () => {
    fc.assert(
      fc.property(fc.array(fc.array(ENTRY, { maxLength: 30 }), { maxLength: 10 }), (later) => {
        const edits = [BEGIN, ...later];
        const manifest = decodeLevelManifest(fileOf(edits.map((edit) => Buffer.concat(edit.map(encoded)))));
        const again = decodeLevelManifest(encodeLevelManifest(manifest));
        expect(shown(again)).toEqual(shown(manifest));
        const tables = [...again.tables].map(([file, { entry }]) => [`7 ${file}`, entry] as const);
        expect(textsOf(new Map([...again.entries, ...tables]))).toEqual(textsOf(leftOf(edits)));
        expect(again.namedKeys.length).toBe(2 * again.tables.size + again.pointers.size);
      }),
      { numRuns: 60 },
    );
  });

  it("is read by LevelDB, even if it has several blocks", async () => {
    const store = await directory.open("store");
    const keys = Array.from({ length: 30 }, (_, at) => Buffer.alloc(20_000, `key ${at + 10} `));
    for (const key of keys) await store.batch([{ type: "put", key, value: randomBytes(70_000) }]);
    await store.close();
    const path = await currentManifestPath(directory.path("store"));
    const file = encodeLevelManifest(await readCurrentManifest(directory.path("store")));
    expect(file.length).toBeGreaterThan(3 * BLOCK_BYTES);
    await writeFile(path, file);
    const found: Uint8Array[] = [];
    for await (const rows of (await directory.open("store")).range({}))
      found.push(...rows.map(([key]) => key));
    expect(found.map(textOf)).toEqual(keys.map(textOf));
  });

  it("is complete if it ends near the end of a block", () => {
    for (let bytes = 2 * BLOCK_BYTES - 100; bytes < 2 * BLOCK_BYTES + 20; bytes += 1) {
      const edit = [...BEGIN, [5, 0, Buffer.alloc(bytes, 1)]].map(encoded);
      const file = encodeLevelManifest(decodeLevelManifest(fileOf([Buffer.concat(edit)])));
      expect(endOf(file)).toBe(file.length);
      expect(decodeLevelManifest(file).pointers.get(0)?.length).toBe(bytes - 8);
    }
  });
});

describe("CRC-32C", () => {
  it("has the check value of the standard and the values of RFC 3720", () => {
    expect(crc32c(Buffer.from("_123456789_"), 1, 10)).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32), 0, 32)).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff), 0, 32)).toBe(0x62a8ab43);
  });
});
