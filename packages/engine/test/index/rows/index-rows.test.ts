import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type KvRow, type KvStore, levelProvider, memoryProvider } from "@cairn/kv";
import { kvStoreSuite } from "@cairn/kv/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headsOf, indexReader, indexRows, type RowChange } from "../../../src/index/rows/index-rows.ts";
import { allRows } from "../../../src/index/rows/row-cursor.ts";
import {
  asKind,
  contentRowKey,
  documentRowKey,
  prefixEnd,
  ROW,
  rowsOfKind,
  versionRowKey,
} from "../../../src/index/rows/row-keys.ts";
import {
  checkedHead,
  checkedVersion,
  decodeVersionText,
  encodeVersion,
  versionValueRevision,
} from "../../../src/index/rows/version-values.ts";

const LARGE = JSON.stringify("é".repeat(200));
const CORRUPT = expect.objectContaining({ code: "INDEX_CORRUPT" }) as unknown;
const rowKey = documentRowKey("pods", "default/a");

// The rows of the suite have other kinds, or values that are not those of versions.
kvStoreSuite("the rows of an index", {
  provider: {
    ...levelProvider(),
    open: async (dir, options) => indexRows(await levelProvider().open(dir, options)),
  },
});

function asBuffers([key, value]: KvRow): KvRow {
  return [Buffer.from(key), Buffer.from(value)];
}

function put(revision: number, json: string): RowChange {
  return { type: "put", key: rowKey, value: encodeVersion(rowKey, revision, 1, Buffer.from(json)) };
}

describe("the rows of versions", () => {
  let folder = "";
  let raw: KvStore;
  let rows: KvStore;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "cairn-rows-"));
    raw = await levelProvider().open(path.join(folder, "kv"));
    rows = indexRows(raw);
  });
  afterEach(async () => {
    await rows.close();
    await rm(folder, { recursive: true });
  });

  const kinds = async (): Promise<string> =>
    (await allRows(raw, {})).map(([key]) => String.fromCodePoint(key[0] ?? 0)).join("");

  it(
    "have a document in a row of its own only if it is large, and are read as if they had it themselves",
    { tags: "rest/slow" },
    async () => {
      const arbitrary = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat({ max: 300 })), {
        maxLength: 40,
      });
      await fc.assert(
        fc.asyncProperty(arbitrary, async (written) => {
          const [plain, split] = [await memoryProvider().open("plain"), await memoryProvider().open("split")];
          const reader = indexRows(split);
          for (const [n, [name, length]] of written.entries()) {
            const key = documentRowKey("pods", `default/${name}`);
            const value = encodeVersion(key, n + 1, n, Buffer.from(JSON.stringify("x".repeat(length))));
            const before = await reader.get(key);
            const moved =
              before === undefined
                ? []
                : [
                    {
                      type: "put",
                      key: versionRowKey(key, versionValueRevision(before)),
                      value: before,
                    } as const,
                  ];
            const batch = [...moved, { type: "put", key, value } as const];
            await plain.batch(batch);
            await reader.batch(batch);
          }
          const snapshot = reader.snapshot();
          const logical = { gte: rowsOfKind(ROW.document).gte, lt: prefixEnd(Buffer.from([ROW.version])) };
          const expected = (await allRows(plain, logical)).map(asBuffers);
          for (const one of [reader, snapshot, indexReader(split)]) {
            for (const reverse of [false, true]) {
              const found = (await allRows(one, { ...logical, reverse })).map(asBuffers);
              expect(reverse ? found.toReversed() : found).toEqual(expected);
            }
            const keys = expected.map(([key]) => key);
            const values = (await one.getMany(keys)).map((value) => Buffer.from(value ?? []));
            expect(values).toEqual(expected.map(([, value]) => value));
            for (const [key, value] of expected)
              expect(Buffer.from((await one.get(key)) ?? [])).toEqual(value);
          }
          await snapshot.close();
          await Promise.all([plain.close(), reader.close()]);
        }),
        { numRuns: 50 },
      );
    },
  );

  it("keep a document where it is when its version is superseded, and remove it with the version", async () => {
    await rows.batch([put(7, LARGE)]);
    expect(await kinds()).toBe("cw");
    const before = await rows.get(rowKey);
    const older = versionRowKey(rowKey, 7);
    await rows.batch([
      { type: "put", key: older, value: before ?? Buffer.alloc(0), isStored: true } as RowChange,
      put(8, "1"),
    ]);
    expect(await kinds()).toBe("chw");
    expect(await rows.get(older)).toEqual(before);
    await rows.batch([{ type: "del", key: older }]);
    expect(await kinds()).toBe("c");
  });

  it("are read as text, too", async () => {
    await rows.batch([put(7, LARGE)]);
    const text = await rows.getText?.(rowKey);
    expect(decodeVersionText(rowKey, text ?? "")).toEqual({ revision: 7, json: LARGE });
  });

  it.each(["removed", "changed", "of another version"])("are damaged if a document was %s", async (how) => {
    await rows.batch([put(7, LARGE)]);
    const key = contentRowKey(rowKey, 7);
    const value = Buffer.from((await raw.get(key)) ?? []);
    if (how === "changed") value[9] = 0x41;
    const other = how === "of another version" ? Buffer.from(LARGE.replace("é", "è")) : value;
    await raw.batch([how === "removed" ? { type: "del", key } : { type: "put", key, value: other }]);
    const read = [
      await rows.get(rowKey),
      (await rows.getMany([rowKey]))[0],
      (await allRows(rows, rowsOfKind(ROW.document)))[0]?.[1],
    ];
    for (const found of read) expect(() => checkedVersion(rowKey, found)).toThrow(CORRUPT);
    expect(() => decodeVersionText(rowKey, "")).toThrow(CORRUPT);
    const text = (await rows.getText?.(rowKey)) ?? "";
    expect(() => decodeVersionText(rowKey, text)).toThrow(CORRUPT);
  });

  it("have heads that are checked without their documents", async () => {
    await rows.batch([put(7, LARGE)]);
    const head = Buffer.from((await headsOf(rows).get(rowKey)) ?? []);
    checkedHead(rowKey, head);
    checkedHead(versionRowKey(rowKey, 7), head);
    expect(() => checkedHead(versionRowKey(rowKey, 8), head)).toThrow(CORRUPT);
    expect(() => checkedHead(asKind(rowKey, ROW.tombstone), head)).toThrow(CORRUPT);
    expect(() => checkedHead(documentRowKey("pods", "default/b"), head)).toThrow(CORRUPT);
    for (let at = 0; at < head.length; at += 1) {
      const other = Buffer.from(head);
      other[at] = (other[at] ?? 0) ^ 1;
      expect(() => checkedHead(rowKey, other)).toThrow(CORRUPT);
    }
  });

  it("are read as of the call while their versions are being removed", async () => {
    const stems = Array.from({ length: 3_000 }, (_, n) => documentRowKey("pods", `default/${n}`));
    await rows.batch(
      stems.map((key) => ({ type: "put", key, value: encodeVersion(key, 1, 1, Buffer.from(LARGE)) })),
    );
    let read = 0;
    for await (const page of rows.range(rowsOfKind(ROW.document))) {
      if (read === 0)
        await rows.batch(
          stems.flatMap((key) => [
            { type: "del", key } as const,
            { type: "del", key: contentRowKey(key, 1) } as const,
          ]),
        );
      for (const [key, value] of page) checkedHead(key, value);
      read += page.length;
    }
    expect(read).toBe(3_000);
    expect(await rows.getMany(stems.slice(0, 2))).toEqual([undefined, undefined]);
  });
});
