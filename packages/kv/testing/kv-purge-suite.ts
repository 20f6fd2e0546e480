import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemErrorCode } from "../src/errors/errors.ts";
import type { KvPurged, KvPurgeRange, KvPurging, KvStore } from "../src/store/kv-store.ts";
import { bytes, del, numbered, put, rowsOf, text } from "./kv-rows.ts";
import type { KvStoreBench } from "./kv-store-bench.ts";

/** Returns a string that hardly compresses, so that {@link filesWith} finds it wherever it is. */
export function token(): string {
  return randomBytes(48).toString("base64url");
}

/**
 * The length of the pieces to search for. Compression may replace four bytes that occur earlier, but some piece of this
 * length stays whole.
 */
const PIECE = 16;

/** Returns the names of the files below `dir` that contain `wanted`, or a piece of it. */
export async function filesWith(dir: string, wanted: string): Promise<string[]> {
  const pieces = wanted.match(new RegExp(`.{${PIECE}}`, "gs")) ?? [wanted];
  const found: string[] = [];
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) continue;
    const content = await contentOf(path);
    if (pieces.some((piece) => content.includes(piece))) found.push(path);
  }
  return found;
}

/** Reads a file; empty if it was removed in the meantime, since LevelDB first writes its content to new files. */
async function contentOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

/** The options of a purge that runs its work directly, because the store has no other writer. */
export const ALONE: KvPurging = { withinMs: 60_000, alone: (work) => work() };

function only(key: string): KvPurgeRange {
  return { gte: bytes(key), lt: bytes(`${key}\0`) };
}

async function purged(store: KvStore, keys: readonly string[]): Promise<KvPurged | undefined> {
  return await store.purge?.(keys.map(only)).run(ALONE);
}

/** Tests the contract of `purge`, if a store supports it, as a part of the suite. */
export function kvPurgeSuite(bench: KvStoreBench): void {
  it("leaves nothing of purged rows in a capture, and leaves everything else unchanged", async () => {
    const store = await bench.open("store");
    if (store.purge === undefined) return;
    const [removed, replaced, kept] = [token(), token(), token()];
    const rows = Array.from({ length: 2_000 }, (_, index) => put(numbered(index), `value ${index}`));
    await store.batch([...rows, put("removed", removed), put("replaced", replaced), put("kept", kept)]);
    await store.batch([del("removed"), put("replaced", "now")]);
    const before = await rowsOf(store);
    expect(await purged(store, ["removed", "replaced", "never"])).toBe("gone");
    expect(await rowsOf(store)).toEqual(before);
    await store.capture(bench.path("capture"));
    expect(await rowsOf(await bench.open("capture"))).toEqual(before);
    expect(await filesWith(bench.path("capture"), removed)).toEqual([]);
    expect(await filesWith(bench.path("capture"), replaced)).toEqual([]);
    expect(await filesWith(bench.path("capture"), kept)).not.toEqual([]);
  });

  it("purges during writes, and loses nothing", async () => {
    const store = await bench.open("store");
    if (store.purge === undefined) return;
    const removed = token();
    await store.batch([put("removed", removed)]);
    await store.batch([del("removed")]);
    const purge = store.purge([{ gte: bytes(numbered(0)), lt: bytes("zzz") }]);
    const done = new AbortController();
    const run = purge.run(ALONE).finally(() => done.abort());
    let written = 0;
    while (!done.signal.aborted || written < 10) {
      await store.batch([put(numbered(written), `value ${written}`)]);
      written += 1;
    }
    expect(await run).toBe("gone");
    expect(await rowsOf(store)).toEqual(
      Array.from({ length: written }, (_, index) => [numbered(index), `value ${index}`]).toSorted(
        ([a = ""], [b = ""]) => Buffer.compare(bytes(a), bytes(b)),
      ),
    );
  });

  it("keeps the rows that an open snapshot reads, and either reports the snapshot or is not delayed by it", async () => {
    const store = await bench.open("store");
    if (store.purge === undefined) return;
    const removed = token();
    await store.batch([put("removed", removed)]);
    const snapshot = store.snapshot();
    await store.batch([del("removed")]);
    const purge = store.purge([only("removed")]);
    expect(["read", "gone"]).toContain(await purge.run({ ...ALONE, withinMs: 50 }));
    expect(text(await snapshot.get(bytes("removed")))).toBe(removed);
    await snapshot.close();
    expect(await purge.run(ALONE)).toBe("gone");
    await store.capture(bench.path("capture"));
    expect(await filesWith(bench.path("capture"), removed)).toEqual([]);
  });

  it("is not delayed by the ranges of a closed snapshot, whether they were never begun, not finished, or being read", async () => {
    const store = await bench.open("store");
    if (store.purge === undefined) return;
    const removed = token();
    const rows = Array.from({ length: 3_000 }, (_, index) => put(numbered(index), "x"));
    await store.batch([...rows, put("removed", removed)]);
    const snapshot = store.snapshot();
    snapshot.range({});
    const begun = snapshot.range({})[Symbol.asyncIterator]();
    await begun.next();
    const page = snapshot.range({})[Symbol.asyncIterator]().next();
    await store.batch([del("removed")]);
    await Promise.all([snapshot.close(), page]);
    await expect(begun.next()).rejects.toMatchObject({ code: "NOT_READY" });
    expect(await purged(store, ["removed"])).toBe("gone");
    await store.capture(bench.path("capture"));
    expect(await filesWith(bench.path("capture"), removed)).toEqual([]);
  });

  it("refuses to purge a store that has been closed", async () => {
    const store = await bench.open("store");
    if (store.purge === undefined) return;
    await store.close();
    expect(() => store.purge?.([only("a")])).toThrow(expect.objectContaining({ code: "NOT_READY" }));
  });
}
