import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { readCurrentManifest } from "../../src/files/current-manifest.ts";
import { piecesOf } from "../../src/level/level-purge.ts";
import type { KvStore } from "../../src/store/kv-store.ts";
import { ALONE, filesWith, token } from "../../testing/index.ts";
import { bytes } from "../../testing/kv-rows.ts";
import { testDirectory } from "../support/test-directory.ts";

const directory = testDirectory();
const put = (key: string, value: Uint8Array | string) =>
  ({ type: "put", key: bytes(key), value: Buffer.from(value) }) as const;
const del = (key: string) => ({ type: "del", key: bytes(key) }) as const;
const only = (key: string) => ({ gte: bytes(key), lt: bytes(`${key}\0`) });
const numbered = (index: number): string => `row ${String(index).padStart(6, "0")}`;

const opened = async (options = { writeBufferSize: 256 * 1024 }): Promise<KvStore> =>
  await directory.open("store", options);

/** Writes rows around the removed ones. They hardly compress, so that there are tables at several levels. */
async function fill(store: KvStore, rows: number, from = 0): Promise<void> {
  for (let at = from; at < from + rows; at += 100) {
    await store.batch(Array.from({ length: 100 }, (_, index) => put(numbered(at + index), randomBytes(500))));
  }
}

/** Purges the row of `key`. Returns the state of the purge. */
async function purge(store: KvStore, key: string): Promise<string | undefined> {
  return await store.purge?.([only(key)]).run(ALONE);
}

describe("removed rows are in the files only until they are purged", () => {
  it.each<[where: string, prepare: (store: KvStore, secret: string) => Promise<void>]>([
    [
      "in the write-ahead log alone",
      async (store, secret) => {
        await store.batch([put("row 000500", secret)]);
        await store.batch([del("row 000500")]);
      },
    ],
    [
      "in a table, removed in the write-ahead log",
      async (store, secret) => {
        await fill(store, 5_000);
        await store.batch([put("row 000500", secret)]);
        await store.compact();
        await store.batch([del("row 000500")]);
      },
    ],
    [
      "in several tables, replaced again and again",
      async (store, secret) => {
        for (let round = 0; round < 4; round++) {
          await store.batch([put("row 000500", secret + String(round))]);
          await fill(store, 2_000, 1_000);
        }
        await store.batch([del("row 000500")]);
      },
    ],
    [
      "in a separate table",
      async (store, secret) => {
        await fill(store, 1_000);
        await store.batch([put("row 000500", Buffer.concat([Buffer.from(secret), randomBytes(5 << 20)]))]);
        await store.compact();
        await store.batch([del("row 000500")]);
      },
    ],
    [
      "in a table together with its removal, where a snapshot made a compaction keep both",
      async (store, secret) => {
        await fill(store, 5_000);
        await store.batch([put("row 000500", secret)]);
        const snapshot = store.snapshot();
        await store.batch([del("row 000500")]);
        await store.compact();
        await store.compact();
        await snapshot.close();
      },
    ],
    [
      "in a separate table together with its removal",
      async (store, secret) => {
        await store.batch([put("row 000500", Buffer.concat([Buffer.from(secret), randomBytes(5 << 20)]))]);
        const snapshot = store.snapshot();
        await store.batch([del("row 000500")]);
        await store.compact();
        await store.compact();
        await snapshot.close();
      },
    ],
  ])("%s", async (_, prepare) => {
    const store = await opened();
    const dir = directory.path("store");
    const secret = token();
    await prepare(store, secret);
    expect(await filesWith(dir, secret)).not.toEqual([]);
    expect(await purge(store, "row 000500")).toBe("gone");
    expect(await filesWith(dir, secret)).toEqual([]);
    // This also applies after the store is reopened, and in a copy.
    await store.close();
    await opened();
    expect(await filesWith(dir, secret)).toEqual([]);
  });

  it("after the key was written again, and its new row is kept", async () => {
    const store = await opened();
    const dir = directory.path("store");
    const [secret, kept] = [token(), token()];
    await store.batch([put("row 000500", secret)]);
    const snapshot = store.snapshot();
    await store.batch([del("row 000500")]);
    await store.batch([put("row 000500", kept)]);
    await store.compact();
    await store.compact();
    await snapshot.close();
    expect(await filesWith(dir, secret)).not.toEqual([]);
    expect(await purge(store, "row 000500")).toBe("gone");
    expect(await filesWith(dir, secret)).toEqual([]);
    expect(await filesWith(dir, kept)).not.toEqual([]);
    expect(Buffer.from((await store.get(bytes("row 000500"))) ?? []).toString()).toBe(kept);
  });
});

it("a purge that reached its time limit continues where it ended, and completes", async () => {
  const store = await opened();
  const dir = directory.path("store");
  const secret = token();
  await fill(store, 10_000);
  await store.batch([put("row 000500", secret), put("row 009500", secret)]);
  await fill(store, 10_000, 10_000);
  await store.batch([del("row 000500"), del("row 009500")]);
  const purging = store.purge?.([only("row 000500"), only("row 009500")]);
  expect(await purging?.run({ ...ALONE, withinMs: 0 })).toBe("unfinished");
  expect(await filesWith(dir, secret)).not.toEqual([]);
  expect(await purging?.run(ALONE)).toBe("gone");
  expect(await filesWith(dir, secret)).toEqual([]);
});

it("a purge waits for a range that is being read, and reports it, but later ranges do not delay the purge forever", async () => {
  const store = await opened();
  const dir = directory.path("store");
  const secret = token();
  await fill(store, 3_000);
  await store.batch([put("row 000500", secret)]);
  const early = store.range({})[Symbol.asyncIterator]();
  await early.next();
  await store.batch([del("row 000500")]);
  const purging = store.purge?.([only("row 000500")]);
  expect(await purging?.run({ ...ALONE, withinMs: 100 })).toBe("read");
  await early.return?.();
  const late = store.range({})[Symbol.asyncIterator]();
  await late.next();
  const result = await purging?.run({ ...ALONE, withinMs: 1_000 });
  await late.return?.();
  // The files that the range began with cannot be removed while it is being read.
  expect(result).toBe("read");
  expect(await purging?.run(ALONE)).toBe("gone");
  expect(await filesWith(dir, secret)).toEqual([]);
});

it("a purge reports a removed key in the manifest until the store is opened again, and a capture does not have it", async () => {
  const secret = `zz ${token()}`;
  const store = await opened();
  const dir = directory.path("store");
  await fill(store, 1_000);
  await store.batch([put(secret, "x")]);
  // The removed key is the last key of a table.
  await store.compact();
  await store.batch([del(secret)]);
  const range = { gte: bytes("z"), lt: bytes("{"), keys: () => true };
  expect(await store.purge?.([range]).run(ALONE)).toBe("named");
  expect((await filesWith(dir, secret)).map((path) => path.replace(/.*\//, ""))).toEqual([
    expect.stringMatching(/^MANIFEST-/),
  ]);
  await store.capture(directory.path("capture"));
  expect(await filesWith(directory.path("capture"), secret)).toEqual([]);
  await store.close();
  const again = await opened();
  // No part of the removed row is left, not even the key at which a compaction ended.
  expect(await filesWith(dir, secret)).toEqual([]);
  expect(await again.purge?.([range]).run(ALONE)).toBe("gone");
});

it("a purge does not rewrite tables outside the ranges", async () => {
  const store = await opened({ writeBufferSize: 4 << 20 });
  const dir = directory.path("store");
  await fill(store, 40_000);
  await store.compact();
  const secret = token();
  await store.batch([put("row 000500", secret)]);
  await store.batch([del("row 000500")]);
  const before = (await readCurrentManifest(dir)).tables;
  expect(await purge(store, "row 000500")).toBe("gone");
  const after = (await readCurrentManifest(dir)).tables;
  const rewritten = [...before.keys()].filter((number) => !after.has(number)).length;
  expect(before.size).toBeGreaterThan(4);
  expect(rewritten).toBeLessThanOrEqual(2);
});

const table = (number: number, first: string, last: string, size = 2 << 20) => ({
  number,
  bytes: size,
  first: Buffer.from(first),
  last: Buffer.from(last),
});
const from = (gte: string, lt: string) => ({ gte: Buffer.from(gte), lt: Buffer.from(lt) });
const shown = (pieces: readonly { gte: Uint8Array; lt: Uint8Array }[]) =>
  pieces.map(({ gte, lt }) => `${Buffer.from(gte).toString()}-${Buffer.from(lt).toString()}`);
const TABLES = Array.from({ length: 60 }, (_, index) =>
  table(index, `k${String(index).padStart(2, "0")}a`, `k${String(index).padStart(2, "0")}z`),
);

describe("pieces", () => {
  it("are joined if at most one table lies between them", () => {
    expect(
      shown(piecesOf([from("k05b", "k05c"), from("k05x", "k05y"), from("k06b", "k06c")], TABLES)),
    ).toEqual(["k05b-k06c"]);
    expect(shown(piecesOf([from("k20b", "k20c"), from("k05b", "k05c")], TABLES))).toEqual([
      "k05b-k05c",
      "k20b-k20c",
    ]);
    expect(shown(piecesOf([from("a", "c"), from("b", "d")], []))).toEqual(["a-d"]);
  });

  it("are split if they are large, and cover everything", () => {
    const pieces = piecesOf([from("k00", "k59b")], TABLES);
    expect(shown(pieces)).toEqual(["k00-k16a", "k16a-k32a", "k32a-k48a", "k48a-k59b"]);
    const many = TABLES.map(({ first }) => ({ gte: first, lt: Buffer.concat([first, Buffer.of(0)]) }));
    expect(piecesOf(many, TABLES).length).toBeLessThanOrEqual(4);
    const held = piecesOf(many, TABLES);
    for (const { gte, lt } of many)
      expect(
        held.some((piece) => Buffer.compare(piece.gte, gte) <= 0 && Buffer.compare(piece.lt, lt) >= 0),
      ).toBe(true);
  });
});
