import { isUtf8 } from "node:buffer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeVersion,
  decodeVersionText,
  encodeVersion,
  isVersionValue,
  versionValueJson,
  versionValueRevision,
  versionValueTime,
} from "../../../src/index/rows/row-values.ts";

const numbers = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, 127, 128, 2 ** 28 - 1, 2 ** 28, 2 ** 32, Number.MAX_SAFE_INTEGER),
);
const documents = fc.option(fc.json({ stringUnit: "binary" }), { nil: undefined });

describe("a version's value", () => {
  it("says its revision, time and document, read as bytes or as text", () => {
    fc.assert(
      fc.property(numbers, numbers, documents, (revision, time, json) => {
        const value = encodeVersion(revision, time, json === undefined ? undefined : Buffer.from(json));
        expect(isUtf8(value)).toBe(true);
        expect(isVersionValue(value)).toBe(true);
        expect([versionValueRevision(value), versionValueTime(value)]).toEqual([revision, time]);
        expect(decodeVersion(value)).toEqual({ revision, time, ...(json === undefined ? {} : { json }) });
        const text = decodeVersionText(value.toString("utf8"));
        expect(text).toEqual(json === undefined ? undefined : { revision, json });
      }),
    );
  });

  it("is none where it is cut short, or where a number has a byte that is none of text", () => {
    const value = encodeVersion(1, 1, Buffer.from("{}"));
    expect(isVersionValue(value.subarray(0, 17))).toBe(true);
    expect(isVersionValue(value.subarray(0, 16))).toBe(false);
    for (let at = 0; at < 17; at++) {
      const damaged = Buffer.from(value);
      damaged[at] = 0x80;
      expect(isVersionValue(damaged)).toBe(false);
    }
  });

  it("is INDEX_CORRUPT for whoever reads one that is none, and never a document", () => {
    const value = encodeVersion(300, 1_000, Buffer.from('{"a":1}'));
    const damaged = [0, 1, 9, 16].map((length) => value.subarray(0, length));
    for (let at = 0; at < 17; at++) {
      const other = Buffer.from(value);
      other[at] = 0xc3;
      damaged.push(other);
      // Two bytes that are one character.
      if (at < 16) damaged.push(Buffer.from(other.fill(0xa9, at + 1, at + 2)));
    }
    const corrupt = expect.objectContaining({ code: "INDEX_CORRUPT" });
    for (const one of damaged) {
      expect(() => decodeVersionText(one.toString("utf8"))).toThrow(corrupt);
      for (const read of [decodeVersion, versionValueRevision, versionValueTime, versionValueJson])
        expect(() => read(one)).toThrow(corrupt);
    }
  });
});
