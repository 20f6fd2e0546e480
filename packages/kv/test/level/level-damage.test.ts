import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { decodeLevelManifest } from "../../src/files/level-manifest.ts";
import type { KvStore } from "../../src/store/kv-store.ts";
import { memoryProvider } from "../../src/level/memory-kv-store.ts";
import { countedBatch, expectWhole } from "../../testing/counted-rows.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();

async function closedStore(rows = 1000): Promise<void> {
  const store = await directory.open("store");
  for (let count = 0; count < rows; count += 100) await store.batch(countedBatch(count, 100, 300));
  await store.close();
}

async function namesIn(pattern: RegExp): Promise<string[]> {
  return (await readdir(directory.path("store"))).filter((name) => pattern.test(name)).toSorted();
}

const CORRUPT = { code: "INDEX_CORRUPT", hint: expect.stringMatching(/.+/) };

describe("a provider that opens a directory without a complete database", () => {
  it("refuses a directory with other files, and changes nothing there", async () => {
    await mkdir(directory.path("store"));
    await writeFile(directory.path("store", "notes.txt"), "mine");
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
    await expect(memoryProvider().open(directory.path("store"))).rejects.toMatchObject(CORRUPT);
    expect(await readdir(directory.path("store"))).toEqual(["notes.txt"]);
  });

  it("refuses a file in place of the directory", async () => {
    await writeFile(directory.path("store"), "mine");
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
  });

  it("refuses a database that lost CURRENT instead of creating a new one in its place", async () => {
    await closedStore();
    const before = await namesIn(/ldb$/);
    await rm(directory.path("store", "CURRENT"));
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
    expect(await namesIn(/ldb$/)).toEqual(before);
  });

  it("accepts the files of a process that was killed while creating a database", async () => {
    await mkdir(directory.path("store"));
    for (const name of ["LOCK", "LOG", "MANIFEST-000001", "000001.dbtmp"]) {
      await writeFile(directory.path("store", name), "");
    }
    const store = await directory.open("store");
    await store.batch(countedBatch(0, 10, 10));
    expect(await expectWhole(store)).toBe(10);
  });

  it.each([
    ["CURRENT is empty", /^CURRENT$/, 0],
    ["CURRENT lost its end", /^CURRENT$/, 12],
    ["the manifest is empty", /^MANIFEST/, 0],
    ["the manifest lost its end", /^MANIFEST/, 20],
  ] as const)("throws INDEX_CORRUPT when %s", async (_, pattern, length) => {
    await closedStore();
    const [name = ""] = await namesIn(pattern);
    await truncate(directory.path("store", name), length);
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
  });

  it.each([
    ["the manifest", /^MANIFEST/],
    ["a table", /ldb$/],
  ] as const)("throws INDEX_CORRUPT if %s is missing", async (_, pattern) => {
    await closedStore();
    const [name = ""] = await namesIn(pattern);
    await rm(directory.path("store", name));
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
  });

  it.each([
    ["zeros", "\0".repeat(16)],
    ["a folder", "."],
    ["a parent folder", "../other"],
    ["another file", "LOCK\n"],
  ])("throws INDEX_CORRUPT if CURRENT names %s, even if tables are compared first", async (_, content) => {
    await closedStore();
    await writeFile(directory.path("store", "CURRENT"), content);
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
    await expect(directory.open("store", {}, { check: true })).rejects.toMatchObject(CORRUPT);
  });

  it.each([/^MANIFEST/, /\.log$/])("throws INDEX_CORRUPT if a folder is in place of %s", async (pattern) => {
    await closedStore();
    const [name = ""] = await namesIn(pattern);
    await rm(directory.path("store", name));
    await mkdir(directory.path("store", name));
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
    await expect(directory.open("store", {}, { check: true })).rejects.toMatchObject(CORRUPT);
  });

  it("does not wait for a pipe in place of CURRENT", async () => {
    await closedStore();
    await rm(directory.path("store", "CURRENT"));
    execFileSync("mkfifo", [directory.path("store", "CURRENT")]);
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
  });

  it("throws INDEX_CORRUPT if a byte of the manifest has changed", async () => {
    await closedStore();
    const [name = ""] = await namesIn(/^MANIFEST/);
    const bytes = await readFile(directory.path("store", name));
    bytes.writeUInt8(bytes.readUInt8(10) ^ 0x40, 10);
    await writeFile(directory.path("store", name), bytes);
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
  });

  it("can be opened again once the damage is repaired", async () => {
    await closedStore();
    const current = await readFile(directory.path("store", "CURRENT"));
    await truncate(directory.path("store", "CURRENT"), 0);
    await expect(directory.open("store")).rejects.toMatchObject(CORRUPT);
    await writeFile(directory.path("store", "CURRENT"), current);
    expect(await expectWhole(await directory.open("store"))).toBe(1000);
  });

  it("does not change the directory when a memory store reads it", async () => {
    await closedStore();
    const store = await memoryProvider().open(directory.path("store"));
    expect(await expectWhole(store)).toBe(1000);
    await store.batch(countedBatch(1000, 100, 300));
    await store.close();
    expect(await expectWhole(await directory.open("store"))).toBe(1000);
  });

  it("creates no directory for a memory store", async () => {
    await (await memoryProvider().open(directory.path("store"))).close();
    expect(existsSync(directory.path("store"))).toBe(false);
  });
});

describe("a table that can no longer be read", () => {
  it("is INDEX_CORRUPT for readers of its rows, on this thread or another", async () => {
    await closedStore();
    const before = await directory.open("store");
    await before.compact();
    await before.close();
    // A store keeps open the tables that it wrote itself, and can still read them.
    const store = await directory.open("store");
    for (const name of await namesIn(/ldb$/)) await rm(directory.path("store", name));
    const key = Buffer.from("count");
    // There are more reads than one turn of the event loop performs.
    const reads = await Promise.allSettled(Array.from({ length: 300 }, () => store.get(key)));
    const texts = await Promise.allSettled(Array.from({ length: 300 }, () => store.getText?.(key)));
    for (const read of [...reads, ...texts])
      expect(read).toMatchObject({ status: "rejected", reason: CORRUPT });
    await expect(store.getMany([key])).rejects.toMatchObject(CORRUPT);
    await expect(expectWhole(store)).rejects.toMatchObject(CORRUPT);
  });
});

describe("a disk without space", () => {
  it.each(["log", "ldb"] as const)(
    "is DISK_FULL at the next batch if a %s cannot be written, and acknowledged rows are kept",
    async (extension) => {
      const store = await directory.open("store");
      const planted = await fullFrom(extension);
      const acknowledged = await writeUntilRefused(store);
      expect(acknowledged).toBeGreaterThan(0);
      for (const path of planted) await rm(path, { force: true });
      // This still applies once there is space again, because a batch after an incomplete one would be lost silently.
      await expect(store.batch(countedBatch(acknowledged, 100, 300))).rejects.toMatchObject({
        code: "DISK_FULL",
      });
      await expect(store.compact()).rejects.toMatchObject({ code: "DISK_FULL" });
      expect(await expectWhole(store)).toBe(acknowledged);
      await store.close();
      const again = await directory.open("store");
      expect(await expectWhole(again)).toBeGreaterThanOrEqual(acknowledged);
      await again.close();
    },
  );

  it("refuses batches that were in progress when another batch failed", async () => {
    const store = await directory.open("store");
    const planted = await fullFrom("log");
    // In the order in which they end: threads may begin to write in another order than that of the calls.
    const failed: boolean[] = [];
    const write = async (index: number): Promise<void> =>
      await store.batch(countedBatch(index * 100, 100, 300)).then(
        () => void failed.push(false),
        () => void failed.push(true),
      );
    await Promise.all(Array.from({ length: 20 }, (_, index) => write(index)));
    for (const path of planted) await rm(path, { force: true });
    expect(failed).toContain(true);
    expect(failed.slice(failed.indexOf(true))).not.toContain(false);
  });
});

/** Redirects the files that LevelDB will create next to a device that is always full. */
async function fullFrom(extension: "log" | "ldb"): Promise<string[]> {
  const [name = ""] = await namesIn(/^MANIFEST/);
  const { nextFile } = decodeLevelManifest(await readFile(directory.path("store", name)));
  const taken = new Set(await namesIn(/./));
  const planted: string[] = [];
  for (let number = nextFile; number < nextFile + 20; number++) {
    const file = `${String(number).padStart(6, "0")}.${extension}`;
    if (taken.has(file)) continue;
    await symlink("/dev/full", directory.path("store", file));
    planted.push(directory.path("store", file));
  }
  return planted;
}

async function writeUntilRefused(store: KvStore): Promise<number> {
  let count = 0;
  const write = async (): Promise<void> => {
    for (; count < 100_000; count += 100) await store.batch(countedBatch(count, 100, 300));
  };
  await expect(write()).rejects.toMatchObject({
    code: "DISK_FULL",
    hint: expect.stringContaining("space"),
  });
  return count;
}
