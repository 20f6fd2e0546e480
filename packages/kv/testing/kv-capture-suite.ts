import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { KvStore } from "../src/store/kv-store.ts";
import { CountedWriter, expectWhole } from "./counted-rows.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";
import { bytes, del, numbered, put, rowsOf, text } from "./kv-rows.ts";

/** Tests the contract of `capture`, as a part of the suite. */
export function kvCaptureSuite(bench: KvStoreBench): void {
  it("captures the written rows, and opens the copy", async () => {
    const store = await bench.open("store");
    await store.batch(Array.from({ length: 2000 }, (_, index) => put(numbered(index), `value ${index}`)));
    const { bytes: size } = await store.capture(bench.path("capture"));
    expect(size).toBeGreaterThan(0);
    const copy = await bench.open("capture");
    expect(await rowsOf(copy)).toEqual(await rowsOf(store));
  });

  it("captures an empty store", async () => {
    const store = await bench.open("store");
    await store.capture(bench.path("capture"));
    expect(await rowsOf(await bench.open("capture"))).toEqual([]);
  });

  it("captures into an empty directory, and leaves only the files that the copy needs", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    await mkdir(bench.path("capture"));
    await store.capture(bench.path("capture"));
    const names = await readdir(bench.path("capture"));
    expect(names).not.toContain("LOCK");
    expect(names).not.toContain("LOG");
  });

  it("leaves only regular files with short names in a copy that has been opened and closed", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    await store.capture(bench.path("capture"));
    await (await bench.open("capture")).close();
    const entries = await readdir(bench.path("capture"), { withFileTypes: true });
    expect(entries.length).toBeGreaterThan(0);
    for (const entry of entries) {
      expect([entry.name, entry.isFile()]).toEqual([entry.name, true]);
      expect(Buffer.byteLength(entry.name)).toBeLessThanOrEqual(100);
    }
  });

  it("refuses a directory that is not empty, and changes nothing", async () => {
    const store = await bench.open("store");
    await mkdir(bench.path("taken"));
    await writeFile(join(bench.path("taken"), "mine"), "x");
    await expect(store.capture(bench.path("taken"))).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await readdir(bench.path("taken"))).toEqual(["mine"]);
  });

  it("keeps original and copy independent", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1"), put("b", "1")]);
    await store.compact();
    await store.capture(bench.path("capture"));
    const copy = await bench.open("capture");
    await copy.batch([put("a", "copy"), del("b")]);
    await copy.compact();
    await store.batch([put("a", "original"), put("c", "original")]);
    await store.compact();
    expect(await rowsOf(copy)).toEqual([["a", "copy"]]);
    expect(await rowsOf(store)).toEqual([
      ["a", "original"],
      ["b", "1"],
      ["c", "original"],
    ]);
  });

  it("captures a copy of a copy", async () => {
    const store = await bench.open("store");
    await store.batch([put("a", "1")]);
    await store.capture(bench.path("first"));
    const first = await bench.open("first");
    await first.batch([put("b", "2")]);
    await first.capture(bench.path("second"));
    const second = await bench.open("second");
    expect((await second.getMany([bytes("a"), bytes("b")])).map(text)).toEqual(["1", "2"]);
  });

  it("captures exactly a prefix that is not older than the call, while a writer writes without a pause", async () => {
    // Each round has its own store, because rows that are written during a slow capture would make the next capture
    // even slower.
    for (let round = 1; round <= 4; round++) {
      const store = await bench.open(`store ${round}`);
      const writer = new CountedWriter(store, { rows: 50, valueBytes: 100 });
      await writer.reached(round * 500);
      const before = writer.count;
      await store.capture(bench.path(`capture ${round}`));
      await writer.stop();
      const copy = await bench.open(`capture ${round}`);
      expect(await expectWhole(copy)).toBeGreaterThanOrEqual(before);
      expect(await expectWhole(store)).toBe(writer.count);
      await copy.close();
      await store.close();
    }
  });

  it("captures into two directories concurrently", async () => {
    const store = await bench.open("store");
    const writer = new CountedWriter(store, { rows: 20, valueBytes: 100 });
    await writer.reached(200);
    await Promise.all([store.capture(bench.path("left")), store.capture(bench.path("right"))]);
    await writer.stop();
    const copies: KvStore[] = [await bench.open("left"), await bench.open("right")];
    for (const copy of copies) await expectWhole(copy);
  });

  it("finishes a running capture before it closes", async () => {
    const store = await bench.open("store");
    await store.batch(Array.from({ length: 2000 }, (_, index) => put(numbered(index), `value ${index}`)));
    let captured = false;
    const capture = store.capture(bench.path("capture")).then(() => (captured = true));
    await store.close();
    expect(captured).toBe(true);
    await capture;
    expect((await rowsOf(await bench.open("capture"))).length).toBe(2000);
  });
}
