import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HistoryError, MAX_NAME_BYTES, pathName, pathOfName } from "../src/index.ts";
import { LONG_PATHS, ODD_NAMES } from "../src/odd-paths.ts";

// Bytes among which escapes, broken UTF-8 and percent signs are frequent.
const byte = fc.oneof(
  fc.constantFrom(..."%%%25~8F9fa/".split("").map((character) => character.charCodeAt(0))),
  fc.integer({ min: 1, max: 255 }),
);
const path = fc.array(byte, { minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes));

describe("the name of a path", () => {
  it.each(["a", "src/a b.c", "précomposé", "漢字/🗻", "\ufeffbom", "\ufffd", "100%", "%ff", "%41", "a\nb"])(
    "is the path itself if the path is UTF-8: %j",
    (text) => {
      expect(pathName(Buffer.from(text))).toEqual({ name: text });
    },
  );

  it("escapes bytes that are not UTF-8, and nothing around them", () => {
    const cases: [string, string][] = [
      ["caf\xe9", "caf%E9"],
      ["cut\xc3", "cut%C3"],
      ["\xed\xa0\x80", "%ED%A0%80"],
      ["\xc0\xaf", "%C0%AF"],
      ["\xc3\xa9\xe9", "é%E9"],
      ["\xf4\x90\x80\x80", "%F4%90%80%80"],
    ];
    for (const [bytes, name] of cases) expect(pathName(Buffer.from(bytes, "latin1")).name).toBe(name);
  });

  it("escapes a percent sign that would otherwise be parsed as an escape", () => {
    expect(pathName(Buffer.from("%E9 %25 %~ %e9")).name).toBe("%25E9 %2525 %25~ %e9");
  });

  it("can be converted back to the path, whatever its bytes", () => {
    fc.assert(
      fc.property(path, (bytes) => {
        const { name, full } = pathName(bytes);
        expect(full).toBeUndefined();
        expect(Buffer.from(name).toString()).toBe(name);
        expect(pathOfName(name).equals(bytes)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("differs for different paths, including odd and long ones", () => {
    const paths = [...ODD_NAMES, ...LONG_PATHS];
    const names = paths.map((bytes) => pathName(Buffer.from(bytes, "latin1")).name);
    expect(new Set(names).size).toBe(paths.length);
  });

  it("is shortened only beyond 1,024 bytes, and then has the whole name next to it", () => {
    const longest = Buffer.from("é".repeat(512));
    expect(pathName(longest)).toEqual({ name: "é".repeat(512) });
    const { name, full } = pathName(Buffer.from("é".repeat(513)));
    expect(full).toBe("é".repeat(513));
    expect(name).toMatch(/^é{479}%~[0-9a-f]{64}$/);
  });

  it("is never longer than allowed, and never cut within a character or an escape", () => {
    for (const bytes of ["\xff", "%25", "\xc3\xa9", "\xf0\x9f\x97\xbb", "a%FF", "a\xc3"]) {
      for (let count = 250; count < 1100; count += 29) {
        const long = Buffer.from(bytes.repeat(count), "latin1");
        const { name, full } = pathName(long);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(MAX_NAME_BYTES);
        expect(pathOfName(full ?? name).equals(long)).toBe(true);
        if (full === undefined) continue;
        const beginning = pathOfName(name.slice(0, name.lastIndexOf("%~")));
        expect(long.subarray(0, beginning.length).equals(beginning)).toBe(true);
      }
    }
  });

  it("cannot be converted back to the path if it was shortened", () => {
    const { name } = pathName(Buffer.alloc(2000, "x"));
    expect(() => pathOfName(name)).toThrow(HistoryError);
  });
});
