import { isUtf8 } from "node:buffer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { asKind, documentRowKey, ROW, versionRowKey } from "../../../src/index/rows/row-keys.ts";
import {
  checkedVersion,
  decodeVersion,
  decodeVersionText,
  encodeVersion,
  versionValueJson,
  versionValueRevision,
  versionValueTime,
} from "../../../src/index/rows/version-values.ts";
import { crc32c } from "../../../testing/log-fold.ts";
import { flipped } from "./flipped.ts";

const CORRUPT = expect.objectContaining({ code: "INDEX_CORRUPT" }) as unknown;
const numbers = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, 127, 128, 2 ** 28 - 1, 2 ** 28, 2 ** 32, Number.MAX_SAFE_INTEGER),
);
/** Short documents with every kind of character, and one larger than the buffer of the checksum. */
const jsons = fc.oneof(
  { weight: 20, arbitrary: fc.json({ stringUnit: "binary" }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("x", "\u00e9", "\ufffd").map((unit) => `"${unit.repeat(70_000)}"`),
  },
);
const documents = fc.option(jsons, { nil: undefined });
const names = fc.string({ unit: "binary", minLength: 1, maxLength: 12 });
const rowKeys = fc
  .tuple(names, names)
  .map(([namespace, name]) => documentRowKey("pods", `${namespace.replaceAll("/", "-")}/${name}`));

/** Returns the rows of a version: as the key's newest one, and as a superseded one. */
function rowsOf(rowKey: Buffer, revision: number, json: string | undefined): Buffer[] {
  return [asKind(rowKey, json === undefined ? ROW.tombstone : ROW.document), versionRowKey(rowKey, revision)];
}

describe("a version's value", () => {
  it("contains its revision, time and document in each of its rows, whether they are read as bytes or as strings", () => {
    fc.assert(
      fc.property(rowKeys, numbers, numbers, documents, (rowKey, revision, time, json) => {
        const value = encodeVersion(
          rowKey,
          revision,
          time,
          json === undefined ? undefined : Buffer.from(json),
        );
        expect(isUtf8(value)).toBe(true);
        for (const row of rowsOf(rowKey, revision, json)) {
          const version = checkedVersion(row, value);
          expect([versionValueRevision(version), versionValueTime(version)]).toEqual([revision, time]);
          expect(decodeVersion(version)).toEqual({ revision, time, ...(json === undefined ? {} : { json }) });
        }
        if (json === undefined) return;
        expect(decodeVersionText(rowKey, value.toString("utf8"))).toEqual({ revision, json });
        expect(versionValueJson(value)).toEqual(JSON.parse(json));
      }),
    );
  });

  it("begins with the CRC-32C of its key's stem and the rest of the value, 7 bits in each byte", () => {
    fc.assert(
      fc.property(rowKeys, numbers, numbers, documents, (rowKey, revision, time, json) => {
        const value = encodeVersion(
          rowKey,
          revision,
          time,
          json === undefined ? undefined : Buffer.from(json),
        );
        const sum = value.subarray(0, 5).reduce((number, byte) => number * 128 + byte, 0);
        expect(sum).toBe(crc32c(Buffer.concat([rowKey.subarray(1), value.subarray(5)])));
      }),
      { numRuns: 30 },
    );
  });
});

describe("a version with a flipped bit", () => {
  const short = fc.option(fc.json({ stringUnit: "binary", maxDepth: 1 }), { nil: undefined });

  it(
    "is reported as INDEX_CORRUPT wherever the bit is in the value, whether it is read as bytes or as a string",
    { tags: "rest/slow" },
    () => {
      fc.assert(
        fc.property(rowKeys, numbers, numbers, short, (rowKey, revision, time, json) => {
          const value = encodeVersion(
            rowKey,
            revision,
            time,
            json === undefined ? undefined : Buffer.from(json),
          );
          const rows = rowsOf(rowKey, revision, json);
          for (const damaged of flipped(value)) {
            for (const row of rows) expect(() => checkedVersion(row, damaged)).toThrow(CORRUPT);
            expect(() => decodeVersionText(rowKey, damaged.toString("utf8"))).toThrow(CORRUPT);
          }
        }),
        { numRuns: 20 },
      );
    },
  );

  it(
    "is reported as INDEX_CORRUPT wherever the bit is in the key, whatever row that results in",
    { tags: "rest/slow" },
    () => {
      fc.assert(
        fc.property(rowKeys, numbers, numbers, short, (rowKey, revision, time, json) => {
          const value = encodeVersion(
            rowKey,
            revision,
            time,
            json === undefined ? undefined : Buffer.from(json),
          );
          const kinds: number[] = [ROW.document, ROW.tombstone, ROW.version];
          for (const row of rowsOf(rowKey, revision, json)) {
            for (const damaged of flipped(row)) {
              if (!kinds.includes(damaged[0] ?? 0)) continue;
              expect(() => checkedVersion(damaged, value)).toThrow(CORRUPT);
            }
          }
          for (const damaged of flipped(rowKey).slice(8))
            expect(() => decodeVersionText(damaged, value.toString("utf8"))).toThrow(CORRUPT);
        }),
        { numRuns: 20 },
      );
    },
  );

  it("is reported as INDEX_CORRUPT when it is truncated", () => {
    const rowKey = documentRowKey("pods", "default/web");
    const value = encodeVersion(rowKey, 300, 1_000, Buffer.from('{"a":1}'));
    for (let length = 0; length < value.length; length++) {
      const cut = value.subarray(0, length);
      expect(() => checkedVersion(rowKey, cut)).toThrow(CORRUPT);
      expect(() => decodeVersionText(rowKey, cut.toString("utf8"))).toThrow(CORRUPT);
    }
  });

  it("is reported as INDEX_CORRUPT under the key of another document, and a deletion under a document's key", () => {
    const [web, db] = [documentRowKey("pods", "default/web"), documentRowKey("pods", "default/db")];
    const document = encodeVersion(web, 300, 1_000, Buffer.from("1"));
    const deletion = encodeVersion(web, 300, 1_000, undefined);
    expect(() => checkedVersion(db, document)).toThrow(CORRUPT);
    expect(() => checkedVersion(asKind(web, ROW.tombstone), document)).toThrow(CORRUPT);
    expect(() => checkedVersion(web, deletion)).toThrow(CORRUPT);
    expect(() => decodeVersionText(web, deletion.toString("utf8"))).toThrow(CORRUPT);
    expect(() => checkedVersion(versionRowKey(web, 301), document)).toThrow(CORRUPT);
  });
});
