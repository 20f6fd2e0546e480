import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  asKind,
  documentKeyRow,
  documentRowKey,
  documentRowPrefix,
  evictionRowKey,
  parseDocumentRowKey,
  prefixEnd,
  ROW,
  rowTxId,
  transactionRowKey,
  versionRevision,
  versionRowKey,
  versionStem,
} from "../../../src/index/rows/row-keys.ts";

const part = fc
  .array(fc.constantFrom("a", "b", "!", "\u0000", "\u0001", "é", "\u{10ffff}", "~", " "), {
    minLength: 1,
    maxLength: 4,
  })
  .map((letters) => letters.join(""));
const name = fc
  .array(fc.oneof(part, fc.constant("/")), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join(""));
const bucket = fc.constantFrom("a", "ab", "b-1");
const key = fc.record({ bucket, namespace: part, name });
const txId = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

type Key = { bucket: string; namespace: string; name: string };
const rowKeyOf = ({ bucket: in_, namespace, name: called }: Key) =>
  documentRowKey(in_, `${namespace}/${called}`);
const bytesOf = (text: string) => Buffer.from(text, "utf8");

describe("row keys", () => {
  it("decode to their original keys", () => {
    fc.assert(
      fc.property(key, (one) => {
        expect(parseDocumentRowKey(rowKeyOf(one))).toEqual(one);
        expect(documentKeyRow(one)).toEqual(rowKeyOf(one));
      }),
    );
  });

  it("are in the order of bucket, namespace and name, each by its UTF-8 bytes", () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        const expected =
          Buffer.compare(bytesOf(a.bucket), bytesOf(b.bucket)) ||
          Buffer.compare(bytesOf(a.namespace), bytesOf(b.namespace)) ||
          Buffer.compare(bytesOf(a.name), bytesOf(b.name));
        expect(Buffer.compare(rowKeyOf(a), rowKeyOf(b))).toBe(expected);
      }),
    );
  });

  it("of a key's versions are adjacent, oldest first, and end with the revision", () => {
    fc.assert(
      fc.property(key, key, txId, txId, (a, b, early, late) => {
        const [x, y] = [versionRowKey(rowKeyOf(a), early), versionRowKey(rowKeyOf(b), late)];
        const keys = Buffer.compare(rowKeyOf(a), rowKeyOf(b));
        expect(Buffer.compare(x, y)).toBe(keys === 0 ? Math.sign(early - late) : keys);
        expect(versionRevision(x)).toBe(early);
        expect(versionStem(x)).toEqual(rowKeyOf(a).subarray(1));
      }),
    );
  });

  it("that begin with a prefix are exactly those between it and its end", () => {
    fc.assert(
      fc.property(key, key, (wanted, other) => {
        const ranges: [Buffer, boolean][] = [
          [documentRowPrefix(wanted.bucket), other.bucket === wanted.bucket],
          [
            documentRowPrefix(wanted.bucket, wanted.namespace),
            other.bucket === wanted.bucket && other.namespace === wanted.namespace,
          ],
          [
            documentRowPrefix(wanted.bucket, wanted.namespace, wanted.name),
            other.bucket === wanted.bucket &&
              other.namespace === wanted.namespace &&
              other.name.startsWith(wanted.name),
          ],
        ];
        for (const [from, within] of ranges) {
          expect(isWithin(rowKeyOf(other), from)).toBe(within);
        }
      }),
    );
  });

  it("of a complete part exclude the keys of a longer part that continues with a 0x00", () => {
    expect(isWithin(documentRowKey("b", "n/a"), documentRowPrefix("b", "n"))).toBe(true);
    expect(isWithin(documentRowKey("b", "n\0x/a"), documentRowPrefix("b", "n"))).toBe(false);
    // Otherwise, the eviction of one key would remove the history of another.
    const versions = asKind(documentRowKey("b", "n/a"), ROW.version);
    expect(isWithin(versionRowKey(documentRowKey("b", "n/a"), Number.MAX_SAFE_INTEGER), versions)).toBe(true);
    expect(isWithin(versionRowKey(documentRowKey("b", "n/a\0z"), 7), versions)).toBe(false);
  });

  it("separate each kind from the others", () => {
    const row = documentRowKey("b", "n/x");
    expect(asKind(row, ROW.tombstone).subarray(1)).toEqual(row.subarray(1));
    expect(asKind(row, ROW.tombstone)[0]).toBe(ROW.tombstone);
    expect(row[0]).toBe(ROW.document);
    expect(evictionRowKey(7, row).subarray(9)).toEqual(row.subarray(1));
  });

  it("of transactions hold every safe integer", () => {
    fc.assert(
      fc.property(txId, (id) => {
        expect(rowTxId(transactionRowKey(id))).toBe(id);
      }),
    );
  });
});

function isWithin(row: Buffer, from: Buffer): boolean {
  return Buffer.compare(row, from) >= 0 && Buffer.compare(row, prefixEnd(from)) < 0;
}
