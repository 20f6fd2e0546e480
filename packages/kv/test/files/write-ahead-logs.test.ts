import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { countedBatch, expectWhole } from "../../testing/counted-rows.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();
const CORRUPT = { code: "INDEX_CORRUPT", message: expect.stringContaining(".log") };

/** Creates a closed store with all rows in its write-ahead log. Returns the log's path and the bytes of each batch. */
async function logOf(batches: number, rows = 100): Promise<{ log: string; ends: number[] }> {
  const store = await directory.open("store", {});
  const log = directory.path("store", "000003.log");
  const ends: number[] = [];
  for (let batch = 0; batch < batches; batch++) {
    await store.batch(countedBatch(batch * rows, rows, 300));
    ends.push((await stat(log)).size);
  }
  await store.close();
  return { log, ends };
}

async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "r+");
  await file.write(bytes, 0, bytes.length, offset);
  await file.close();
}

async function rowsAfterOpening(): Promise<number> {
  const store = await directory.open("store", {});
  const rows = await expectWhole(store);
  await store.close();
  return rows;
}

describe("a store whose write-ahead log is damaged", () => {
  it("is INDEX_CORRUPT with a page of zeros in the middle, which a power loss can leave, instead of losing its rows", async () => {
    const { log } = await logOf(50);
    await overwrite(log, 40 * 4096, Buffer.alloc(4096));
    await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
  });

  it("is INDEX_CORRUPT with one bit flipped anywhere before the last batch", async () => {
    const { log, ends } = await logOf(4);
    const bytes = await readFile(log);
    for (const offset of [0, 5, 6, 7, 20, 5000, ends[0] ?? 0, 33_000, (ends[2] ?? 0) - 1]) {
      await overwrite(log, offset, Uint8Array.of(bytes.readUInt8(offset) ^ 4));
      await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
      await overwrite(log, offset, bytes.subarray(offset, offset + 1));
    }
    expect(await rowsAfterOpening()).toBe(400);
  });

  it("is INDEX_CORRUPT if a log that precedes another one is missing, appears twice or has lost its end", async () => {
    const { log, ends } = await logOf(3, 10);
    const bytes = await readFile(log);
    const parts = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
    const logs = async (...contents: (Uint8Array | undefined)[]): Promise<void> => {
      for (const [index, content] of contents.entries()) {
        const path = directory.path("store", `00000${index + 3}.log`);
        if (content === undefined) await rm(path);
        else await writeFile(path, content);
      }
    };
    const [first, second, third] = parts;
    await logs(first, second, third);
    await logs(first, undefined, third);
    await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
    await logs(first, first, third);
    await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
    await logs(first, second?.subarray(0, -1), third);
    await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
    await logs(first, second, third);
    expect(await rowsAfterOpening()).toBe(30);
  });

  it.each(["is missing", "repeats the page after it"])(
    "is INDEX_CORRUPT if a page in the middle of a batch %s, even if each fragment is valid",
    async (what) => {
      const store = await directory.open("store", { writeBufferSize: 16 * 1024 * 1024 });
      await store.batch(countedBatch(0, 2_000, 300));
      await store.batch(countedBatch(2_000, 10, 300));
      await store.close();
      const [name = ""] = (await readdir(directory.path("store"))).filter((file) => file.endsWith(".log"));
      const whole = await readFile(directory.path("store", name));
      expect(whole.length).toBeGreaterThan(8 * 32_768);
      for (let page = 1; page < 8; page += 1) {
        const [from, to] = [page * 32_768, (page + 1) * 32_768];
        const behind = what === "is missing" ? [] : [whole.subarray(to, to + 32_768)];
        const cut = Buffer.concat([whole.subarray(0, from), ...behind, whole.subarray(to)]);
        await writeFile(directory.path("store", name), cut);
        await expect(directory.open("store")).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
      }
    },
  );

  it("is not changed, so that its files can still be examined", async () => {
    const { log } = await logOf(50);
    await overwrite(log, 40 * 4096, Buffer.alloc(4096));
    const before = await readdir(directory.path("store"));
    const bytes = await readFile(log);
    await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
    expect(await readdir(directory.path("store"))).toEqual(before);
    expect(Buffer.compare(await readFile(log), bytes)).toBe(0);
  });

  it("is INDEX_LOCKED if another process is writing", async () => {
    const child = spawn(
      process.execPath,
      [
        fileURLToPath(new URL("../../dist/test/support/other-process.js", import.meta.url)),
        "hold",
        directory.path("store"),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const exited = once(child, "exit");
    try {
      await once(child.stdout, "data");
      const [name = ""] = (await readdir(directory.path("store"))).filter((file) => file.endsWith(".log"));
      await overwrite(directory.path("store", name), 100, Buffer.alloc(100, 1));
      await expect(directory.open("store", {})).rejects.toMatchObject({ code: "INDEX_LOCKED" });
    } finally {
      child.kill("SIGKILL");
      await exited;
    }
    await expect(directory.open("store", {})).rejects.toMatchObject(CORRUPT);
  });
});

describe("a store whose write-ahead log ends early", () => {
  it("keeps the whole batches before the cut, wherever the cut is", async () => {
    const { log, ends } = await logOf(5);
    const bytes = await readFile(log);
    await rm(directory.path("store"), { recursive: true });
    for (const length of [
      0,
      3,
      2000,
      32_768,
      (ends[1] ?? 0) - 1,
      ends[1] ?? 0,
      (ends[3] ?? 0) + 7,
      bytes.length - 1,
    ]) {
      await logOf(0);
      await writeFile(log, bytes.subarray(0, length));
      expect(await rowsAfterOpening()).toBe(ends.filter((end) => end <= length).length * 100);
      await rm(directory.path("store"), { recursive: true });
    }
  });

  it("treats a tail of zeros, which was never written, as the end", async () => {
    const { log, ends } = await logOf(5);
    const start = ends[2] ?? 0;
    await overwrite(log, start, Buffer.alloc((ends[4] ?? 0) - start + 100_000));
    expect(await rowsAfterOpening()).toBe(300);
  });

  it("keeps its batches if the process was interrupted when it opened the store and had just created the next log", async () => {
    const { log, ends } = await logOf(5);
    await truncate(log, (ends[4] ?? 0) - 5);
    await writeFile(directory.path("store", "000006.log"), "");
    expect(await rowsAfterOpening()).toBe(400);
  });

  it("accepts batches that are larger than many blocks", async () => {
    const store = await directory.open("store", {});
    await store.batch(countedBatch(0, 5000, 300));
    await store.batch(countedBatch(5000, 5000, 300));
    await store.close();
    expect(await rowsAfterOpening()).toBe(10_000);
  });
});
