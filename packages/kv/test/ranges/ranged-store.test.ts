import { execFile } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { execPath } from "node:process";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { isCairnError } from "../../src/errors/errors.ts";
import { openRanged } from "../../src/ranges/ranged-store.ts";
import { findBlocks, TRAILER_BYTES } from "../../src/tables/check-table.ts";
import type { KvRange, KvReader, KvRow, KvStore } from "../../src/store/kv-store.ts";
import { bytes, del, numbered, put } from "../../testing/kv-rows.ts";
import { folderFiles } from "../support/folder-files.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();

async function allOf(reader: KvReader, range: KvRange = {}): Promise<string[]> {
  const rows: KvRow[] = [];
  for await (const page of reader.range(range)) rows.push(...page);
  return rows.map((row) => row.map(hex).join(" "));
}

function hex(value: Uint8Array | undefined): string | undefined {
  return value && Buffer.from(value).toString("hex");
}

/** Keys of few different bytes, often prefixes of each other, and large enough for several tables. */
const key = fc
  .array(fc.constantFrom("a", "b", "\u0000", "ÿ"), { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join(""));
const change = fc.tuple(key, fc.option(fc.nat(4_000), { freq: 4, nil: undefined }));
const step = fc.oneof(
  { weight: 8, arbitrary: fc.array(change, { minLength: 20, maxLength: 200 }) },
  { weight: 1, arbitrary: fc.constantFrom("compact", "reopen", "snapshot") },
);

it(
  "returns what LevelDB returns, in both directions, with several versions of a key in a table",
  { tags: "rest/slow" },
  async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(step, { minLength: 1, maxLength: 12 }),
        fc.array(fc.tuple(key, key, fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 5 }),
        async (compression, steps, ranges) => {
          const name = `store ${runs++}`;
          const options = { writeBufferSize: 64 * 1024, compression };
          let store = await directory.open(name, options);
          for (const one of steps) {
            if (one === "compact") await store.compact();
            // An open snapshot keeps compactions from removing old versions.
            else if (one === "snapshot") store.snapshot();
            else if (one === "reopen") {
              await store.close();
              store = await directory.open(name, options);
            } else
              await store.batch(
                one.map(([at, size]) => (size === undefined ? del(at) : put(at, at.repeat(size / 10)))),
              );
          }
          const target = directory.path(`${name} captured`);
          await store.capture(target, { unchecked: true });
          const ranged = await openRanged(await folderFiles(target));
          for (const reverse of [false, true])
            expect(await allOf(ranged, { reverse })).toEqual(await allOf(store, { reverse }));
          for (const [from, to, excluded, reverse] of ranges) {
            const range = {
              ...(excluded ? { gt: bytes(from) } : { gte: bytes(from) }),
              ...(excluded ? { lte: bytes(to) } : { lt: bytes(to) }),
              reverse,
            };
            expect(await allOf(ranged, range)).toEqual(await allOf(store, range));
            const keys = [bytes(from), bytes(to)];
            expect((await ranged.getMany(keys)).map(hex)).toEqual((await store.getMany(keys)).map(hex));
          }
          await store.close();
        },
      ),
      { numRuns: 60 },
    );
  },
);

/** A small database with tables of two levels, filters, compressed and uncompressed blocks, and a log. */
async function captured(): Promise<string> {
  const store = await directory.open("small");
  const batch = async (from: number, value: string): Promise<void> =>
    await store.batch(
      Array.from({ length: 40 }, (_, at) => put(numbered(from + at), value.repeat(from + at))),
    );
  await batch(0, "compressible ");
  await store.compact();
  await batch(20, Buffer.from(Array.from({ length: 64 }, (_, at) => (at * 89) % 251)).toString("latin1"));
  await store.batch([put("filler", "x".repeat(100_000)), del(numbered(3))]);
  await batch(100, "y");
  await store.capture(directory.path("captured"), { unchecked: true });
  await store.close();
  return directory.path("captured");
}

it(
  "refuses a flipped bit in any block, filter or footer, or returns the same rows",
  { tags: "rest/slow" },
  async () => {
    const dir = await captured();
    const { sizes } = await folderFiles(dir);
    const expected = await allOf(await openRanged(await folderFiles(dir)));
    // The other files are read as a whole, and compared with their digests by whoever knows these.
    const names = [...sizes.keys()].filter((name) => name.endsWith(".ldb"));
    expect(names.length).toBeGreaterThan(1);
    let refused = 0;
    for (const name of names) {
      const content = await readFile(`${dir}/${name}`);
      // Every bit of the ends, where the indexes are, and one in some of the bytes between.
      const places = Array.from({ length: content.length }, (_, at) => at).filter(
        (at) => at < 64 || at > content.length - 200 || at % 37 === 0,
      );
      for (const at of places) {
        const bits = at > content.length - 200 ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8];
        for (const bit of bits) {
          content[at] = (content[at] ?? 0) ^ (1 << bit);
          await writeFile(`${dir}/${name}`, content);
          try {
            expect(await allOf(await openRanged(await folderFiles(dir)))).toEqual(expected);
          } catch (error) {
            if (!isCairnError(error, "INDEX_CORRUPT")) throw error;
            refused += 1;
          }
          content[at] = (content[at] ?? 0) ^ (1 << bit);
        }
      }
      await writeFile(`${dir}/${name}`, content);
    }
    expect(refused).toBeGreaterThan(1_000);
  },
);

it(
  "refuses a block in the place of another one of the same table, although its checksum is right",
  { tags: "rest/slow" },
  async () => {
    const store = await directory.open("alike", { compression: false });
    // Keys and values of one size, so that blocks have the same size.
    const keys = Array.from({ length: 4_000 }, (_, at) => numbered(at));
    await store.batch(keys.map((one) => put(one, one.repeat(20))));
    await store.compact();
    const dir = directory.path("alike captured");
    await store.capture(dir, { unchecked: true });
    const expected = new Map(
      await Promise.all(keys.map(async (one) => [one, hex(await store.get(bytes(one)))] as const)),
    );
    let swapped = 0;
    for (const name of (await readdir(dir)).filter((one) => one.endsWith(".ldb"))) {
      const path = `${dir}/${name}`;
      const content = await readFile(path);
      const read = async (at: number, length: number): Promise<Buffer> => content.subarray(at, at + length);
      const blocks = await findBlocks(path, content.length, read, true);
      const rows = blocks.filter(({ upTo }) => upTo !== undefined);
      for (let at = 0; at + 3 < rows.length; at += 3) {
        const [from, to] = [rows[at], rows[at + 3]];
        if (from === undefined || to === undefined || from.size !== to.size) continue;
        const changed = Buffer.from(content);
        content.copy(changed, to.offset, from.offset, from.offset + from.size + TRAILER_BYTES);
        await writeFile(path, changed);
        const ranged = await openRanged(await folderFiles(dir));
        let refused = 0;
        for (const one of keys) {
          const found = await Promise.resolve(ranged.get(bytes(one))).catch((error: unknown) => error);
          if (isCairnError(found, "INDEX_CORRUPT")) refused += 1;
          else expect(hex(found as Uint8Array)).toBe(expected.get(one));
        }
        await expect(allOf(ranged)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
        expect(refused).toBeGreaterThan(0);
        swapped += 1;
      }
      await writeFile(path, content);
    }
    expect(swapped).toBeGreaterThan(5);
  },
);

/** A database whose rows are in several tables and levels. */
async function manyRows(): Promise<{ store: KvStore; dir: string; keys: string[] }> {
  const store = await directory.open("many");
  const keys = Array.from({ length: 20_000 }, (_, at) => numbered((at * 7919) % 20_000));
  for (let at = 0; at < keys.length; at += 100)
    await store.batch(keys.slice(at, at + 100).map((one) => put(one, one.repeat(10))));
  await store.capture(directory.path("many rows"), { unchecked: true });
  return { store, dir: directory.path("many rows"), keys };
}

it("reads one block for a row once the ends of its tables are known, and none for an absent row", async () => {
  const { dir, keys } = await manyRows();
  const reads: number[] = [];
  const ranged = await openRanged(
    await folderFiles(dir, (_name, start, end) => void reads.push(end - start)),
  );
  for (const one of keys.slice(0, 300)) await ranged.get(bytes(one));
  reads.length = 0;
  const fresh = keys.slice(5_000, 5_100);
  for (const one of fresh) expect(await ranged.get(bytes(one))).toBeDefined();
  expect(reads.length).toBeLessThan(1.3 * fresh.length);
  expect(Math.max(...reads)).toBeLessThan(8_192);
  reads.length = 0;
  for (const one of fresh) expect(await ranged.get(bytes(`${one}-absent`))).toBeUndefined();
  expect(reads.length).toBeLessThan(0.1 * fresh.length);
});

it("does not read what was read before, and shares what is being read", async () => {
  const { dir, keys } = await manyRows();
  let reads = 0;
  const ranged = await openRanged(await folderFiles(dir, () => void (reads += 1)));
  await ranged.get(bytes(keys[0] ?? ""));
  const [first, once] = [reads, reads];
  await Promise.all(Array.from({ length: 100 }, () => ranged.get(bytes(keys[0] ?? ""))));
  expect(reads).toBe(first);
  reads = 0;
  const other = await openRanged(await folderFiles(dir, () => void (reads += 1)));
  await Promise.all(Array.from({ length: 100 }, () => other.get(bytes(keys[0] ?? ""))));
  expect(reads).toBe(once);
});

/** A database with several tables of short rows, whose numbers are below `count`. */
async function shortRows(): Promise<{ dir: string; count: number }> {
  const store = await directory.open("short rows", { compression: false, writeBufferSize: 1 << 20 });
  const count = 500_000;
  // In scattered order, so that the compaction merges rows into tables of the full size.
  for (let at = 0; at < count; at += 10_000)
    await store.batch(
      Array.from({ length: 10_000 }, (_, row) => put(numbered(((at + row) * 7919) % count), "")),
    );
  await store.compact();
  const dir = directory.path("short rows captured");
  await store.capture(dir, { unchecked: true });
  await store.close();
  return { dir, count };
}

it(
  "keeps about the size of the blocks that were read, and not several times as much",
  { tags: "rest/slow" },
  async () => {
    const { dir, count } = await shortRows();
    const process = fileURLToPath(new URL("../../dist/test/support/memory-process.js", import.meta.url));
    const { stdout } = await promisify(execFile)(execPath, ["--expose-gc", process, dir]);
    const { bytesRead, kept } = JSON.parse(stdout) as { bytesRead: number; kept: number };
    expect(bytesRead).toBe(count * bytes(numbered(0)).length);
    expect(kept).toBeGreaterThan(bytesRead);
    expect(kept).toBeLessThan(4 * bytesRead);
  },
);

it(
  "reads the end of a table in one request, however large, once that of a similar table is known",
  { tags: "rest/slow" },
  async () => {
    const { dir, count } = await shortRows();
    const reads: [name: string, start: number, end: number][] = [];
    const files = await folderFiles(dir, (...read) => void (read[0].endsWith(".ldb") && reads.push(read)));
    const ranged = await openRanged(files);
    const tables = new Set<string>();
    for (let at = 0; at < count; at += count / 10) {
      reads.length = 0;
      expect(await ranged.get(bytes(numbered(at)))).toBeDefined();
      const [name = ""] = reads[0] ?? [];
      if (tables.has(name)) continue;
      // The end, another part of it that was not expected, and the block of the row.
      expect(reads).toHaveLength(tables.size === 0 ? 3 : 2);
      const ends = reads.slice(0, -1).map(([, start, end]) => end - start);
      expect(ends.reduce((sum, one) => sum + one)).toBeGreaterThan(128 * 1024);
      tables.add(name);
    }
    expect(tables.size).toBeGreaterThan(1);
  },
);

it("requests the logs together with the manifest", async () => {
  const files = await folderFiles(await captured());
  const requested: string[] = [];
  const ranged = await openRanged({
    ...files,
    whole: async (name) => {
      requested.push(name);
      await setImmediate();
      expect(requested.toSorted()).toEqual(
        [...files.sizes.keys()].filter((one) => /^MANIFEST-|[.]log$/.test(one)).toSorted(),
      );
      return await files.whole(name);
    },
  });
  expect(await ranged.get(bytes("filler"))).toBeDefined();
});

it("refuses every write, and everything once it is closed", async () => {
  const { dir } = await manyRows();
  const ranged: KvStore = await openRanged(await folderFiles(dir));
  await expect(ranged.batch([put("a", "1")])).rejects.toMatchObject({ code: "STORE_DENIED" });
  await expect(ranged.capture(directory.path("copy"))).rejects.toMatchObject({ code: "STORE_DENIED" });
  await ranged.close();
  await expect(ranged.get(bytes("a"))).rejects.toMatchObject({ code: "NOT_READY" });
});
