import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ClassicLevel } from "classic-level";
import { describe, expect, it } from "vitest";
import { currentManifestPath, readCurrentManifest } from "../../src/files/current-manifest.ts";
import type { LevelManifest } from "../../src/files/level-manifest.ts";
import { pagesOf, readsOf } from "../../src/level/level-reader.ts";
import type { KvRange } from "../../src/store/kv-store.ts";
import { captureFileSystem, captureLevelDb } from "../../src/capture/live-capture.ts";
import { CountedWriter, countedBatch, expectWhole } from "../../testing/counted-rows.ts";
import { systemError, twoLogs, withCalls } from "./capture-faults.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();
const FEW_ROUNDS = 5;
/** The number of captures. There are few in the test suite, and more in `pnpm soak captures`. */
const ROUNDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 30);
const SERIES = 50;

async function tablesOf(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((name) => name.endsWith(".ldb"));
}

async function rowsIn(name: string): Promise<number> {
  const store = await directory.open(name);
  const count = await expectWhole(store);
  await store.close();
  return count;
}

/** Captures one store repeatedly while a writer never pauses, and compares each capture. */
async function captureSeries(live: string, rounds: number): Promise<void> {
  const store = await directory.open(live);
  const writer = new CountedWriter(store, { rows: 100, valueBytes: 300 });
  const counts: number[] = [];
  let linked = 0;
  for (let round = 0; round < rounds; round++) {
    await writer.reached(writer.count + 1000);
    counts.push(writer.count);
    // The captures are unchecked, so that the next one begins immediately. Every row is read below.
    const target = directory.path(`capture ${round}`);
    const capture = await captureLevelDb(directory.path(live), target, { unchecked: true });
    expect(capture.linked).toBeGreaterThan(0);
    linked += capture.linked;
  }
  await writer.stop();
  await store.close();
  // A compaction may leave one or two tables at any time.
  expect(linked).toBeGreaterThan(rounds);
  // Each capture is verified in a real copy, so that nothing in it can come from the live directory.
  for (const [round, count] of counts.entries()) {
    await cp(directory.path(`capture ${round}`), directory.path("copy"), { recursive: true });
    expect(await rowsIn("copy")).toBeGreaterThanOrEqual(count);
    await rm(directory.path("copy"), { recursive: true });
    await rm(directory.path(`capture ${round}`), { recursive: true });
  }
}

describe("a capture of a LevelDB that is being written to", () => {
  it(`is exact ${FEW_ROUNDS} times in a row while a writer never pauses and constantly flushes`, async () => {
    await captureSeries("live", FEW_ROUNDS);
  });

  it(
    `is exact ${ROUNDS} times in a row while a writer never pauses and constantly flushes`,
    { tags: "rest/slow", timeout: 60_000 + ROUNDS * 20_000 },
    async () => {
      // The number of rows to compare grows with every round. A new store from time to time avoids quadratic growth.
      for (let done = 0; done < ROUNDS; done += SERIES) {
        await captureSeries(`live ${done}`, Math.min(SERIES, ROUNDS - done));
      }
    },
  );

  it("has the rows that were flushed between the listing and the manifest", async () => {
    const store = await directory.open("live");
    await store.batch(countedBatch(0, 100, 300));
    let flushed = false;
    const fileSystem = withCalls({
      async read(path) {
        if (!flushed) {
          flushed = true;
          await store.batch(countedBatch(100, 100, 300));
          await store.compact();
        }
        return captureFileSystem.read(path);
      },
    });
    await captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
    expect(await rowsIn("capture")).toBe(200);
  });

  it("would lose rows if the manifest were read before the logs, and these tests would detect it", async () => {
    const store = await directory.open("live");
    await store.batch(countedBatch(0, 100, 300));
    const names = (await readdir(directory.path("live"))).filter((name) => /^(CURRENT|MANIFEST)/.test(name));
    const early = new Map<string, Uint8Array>();
    for (const name of names) early.set(name, await readFile(directory.path("live", name)));
    const logs = (await readdir(directory.path("live"))).filter((name) => name.endsWith(".log"));
    for (let count = 100; existsSync(directory.path("live", logs[0] ?? "")); count += 100) {
      await store.batch(countedBatch(count, 100, 300));
    }
    const fileSystem = withCalls({
      async read(path) {
        const bytes = early.get(basename(path));
        if (bytes === undefined) throw systemError("ENOENT");
        return bytes;
      },
    });
    await captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
    // The gap is visible in the sequence numbers of the logs and, if the numbers are ignored when the database is
    // opened, in the rows.
    await expect(directory.open("capture")).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    const level = new ClassicLevel<Uint8Array, Uint8Array>(directory.path("capture"), {
      keyEncoding: "view",
      valueEncoding: "view",
    });
    await level.open();
    const reader = {
      ...readsOf(level, "capture"),
      range: (range: KvRange) => pagesOf(level, "capture", range),
    };
    await expect(expectWhole(reader)).rejects.toThrow(/expected/);
    await level.close();
  });

  it("starts again if its first listing missed a log that was flushed right after the manifest was read", async () => {
    await twoLogs(directory, "before");
    // This directory has the same history, but both logs have become tables.
    await cp(directory.path("before"), directory.path("after"), { recursive: true });
    await (await directory.open("after")).close();
    let listings = 0;
    let source = directory.path("before");
    const at = (path: string) => path.replace(directory.path("before"), source);
    const fileSystem = withCalls({
      async list(path) {
        const names = await captureFileSystem.list(at(path));
        const first = path === directory.path("before") && listings++ === 0;
        return first ? names.filter((name) => name !== "000003.log") : names;
      },
      async read(path) {
        const bytes = await captureFileSystem.read(at(path));
        if (basename(path) !== "CURRENT") source = directory.path("after");
        return bytes;
      },
      link: (from, to) => captureFileSystem.link(at(from), to),
      copy: (from, to, mode) => captureFileSystem.copy(at(from), to, mode),
    });
    await captureLevelDb(directory.path("before"), directory.path("capture"), { fileSystem });
    expect(await rowsIn("capture")).toBe(20);
  });

  it("has both logs if the older one has not been flushed", async () => {
    await twoLogs(directory, "before");
    await captureLevelDb(directory.path("before"), directory.path("capture"));
    expect(await rowsIn("capture")).toBe(20);
  });

  it("reads the manifest again if a compaction removed a table before it was linked", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 2000; count += 100) await store.batch(countedBatch(count, 100, 300));
    let manifests = 0;
    const fileSystem = withCalls({
      async read(path) {
        if (basename(path) === "CURRENT") manifests += 1;
        return captureFileSystem.read(path);
      },
      async link(from, to) {
        if (manifests === 1) await store.compact();
        return captureFileSystem.link(from, to);
      },
    });
    await captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
    expect(manifests).toBeGreaterThan(1);
    expect(await rowsIn("capture")).toBe(2000);
  });
});

describe("the files of a capture", () => {
  it("are shared with the live database, which opening the copy does not affect", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 3000; count += 100) await store.batch(countedBatch(count, 100, 300));
    const { linked, copied } = await captureLevelDb(directory.path("live"), directory.path("capture"));
    expect(copied).toBe(0);
    expect(linked).toBeGreaterThan(0);
    const shared = await tablesOf(directory.path("capture"));
    const digests = await Promise.all(shared.map((name) => digestOf(directory.path("capture", name))));
    await cp(directory.path("capture"), directory.path("untouched"), { recursive: true });

    const copy = await directory.open("capture");
    for (let count = 3000; count < 6000; count += 100) await copy.batch(countedBatch(count, 100, 300));
    await copy.compact();
    await copy.close();
    const kept = shared.filter((name) => existsSync(directory.path("live", name)));
    expect(kept.length).toBeGreaterThan(0);
    for (const name of kept)
      expect(await digestOf(directory.path("live", name))).toBe(digests[shared.indexOf(name)]);

    await store.batch(countedBatch(3000, 100, 300));
    await store.compact();
    expect(await expectWhole(store)).toBe(3100);
    await store.close();
    expect(await rowsIn("live")).toBe(3100);
  });

  it("are copied if links are refused, even while compactions remove tables", async () => {
    const store = await directory.open("live");
    const writer = new CountedWriter(store, { rows: 100, valueBytes: 300 });
    await writer.reached(3000);
    const fileSystem = withCalls({ link: () => Promise.reject(systemError("EXDEV")) });
    const capture = await captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
    await writer.stop();
    expect(capture.linked).toBe(0);
    expect(capture.copied).toBeGreaterThan(0);
    expect(await rowsIn("capture")).toBeGreaterThanOrEqual(3000);
  });

  it("are copied if the target is on another file system (where one is available)", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 2000; count += 100) await store.batch(countedBatch(count, 100, 300));
    const memory = existsSync("/dev/shm") ? "/dev/shm" : directory.path();
    const other = await mkdtemp(join(memory, "kv-"));
    try {
      const capture = await captureLevelDb(directory.path("live"), join(other, "capture"));
      const elsewhere = (await stat(other)).dev !== (await stat(directory.path())).dev;
      expect(capture[elsewhere ? "copied" : "linked"]).toBeGreaterThan(0);
      expect(capture[elsewhere ? "linked" : "copied"]).toBe(0);
      await cp(join(other, "capture"), directory.path("back"), { recursive: true });
      expect(await rowsIn("back")).toBe(2000);
    } finally {
      await rm(other, { recursive: true, force: true });
    }
  });

  it("are linked again after one file with too many links", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 3000; count += 100) await store.batch(countedBatch(count, 100, 300));
    let refused = 0;
    const fileSystem = withCalls({
      link: (from, to) =>
        refused++ === 0 ? Promise.reject(systemError("EMLINK")) : captureFileSystem.link(from, to),
    });
    const capture = await captureLevelDb(directory.path("live"), directory.path("capture"), { fileSystem });
    expect(capture.copied).toBe(1);
    expect(capture.linked).toBeGreaterThan(0);
    expect(await rowsIn("capture")).toBe(3000);
  });

  it("include a manifest with only the live tables, however many there have been", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 9000; count += 100) await store.batch(countedBatch(count, 100, 300));
    // Afterwards, nothing runs in the background, so both manifests are of the same tables.
    await store.compact();
    const live = await readCurrentManifest(directory.path("live"));
    expect(live.namedKeys.length).toBeGreaterThan(4 * live.tables.size);
    const captured = async (from: string, to: string): Promise<LevelManifest> => {
      await captureLevelDb(directory.path(from), directory.path(to));
      const manifest = await readCurrentManifest(directory.path(to));
      const { size } = await stat(await currentManifestPath(directory.path(to)));
      expect(manifest.namedKeys.length).toBe(2 * manifest.tables.size + manifest.pointers.size);
      expect(size).toBeLessThan(200 + 100 * manifest.namedKeys.length);
      return manifest;
    };
    const first = await captured("live", "first");
    expect(first).toEqual({ ...live, namedKeys: first.namedKeys });
    await captured("first", "of an unopened one");
    expect(await rowsIn("first")).toBe(9000);
    await captured("first", "of an opened one");
    for (const name of ["first", "of an unopened one", "of an opened one", "of an opened one"])
      expect(await rowsIn(name)).toBe(9000);
  });

  it("have the total size that the capture reports", async () => {
    const store = await directory.open("live");
    for (let count = 0; count < 1000; count += 100) await store.batch(countedBatch(count, 100, 300));
    const { bytes } = await captureLevelDb(directory.path("live"), directory.path("capture"));
    let found = 0;
    for (const name of await readdir(directory.path("capture"))) {
      const { size } = await stat(directory.path("capture", name));
      found += size;
    }
    expect(bytes).toBe(found);
  });
});

async function digestOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}
