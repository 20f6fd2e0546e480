import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isJsonLine, MAX_JSON_DEPTH } from "../src/json-text.ts";

/** Returns whether JSON.parse accepts the string. Line breaks, which no message has, are refused. */
const parses = (text: string): boolean => {
  if (/[\r\n]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

describe("the check for a line of JSON", () => {
  it("agrees with JSON.parse for valid JSON", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        expect(isJsonLine(text)).toBe(true);
      }),
    );
  });

  it(
    "agrees with JSON.parse for JSON with a part changed, removed or repeated",
    { tags: "rest/slow" },
    () => {
      const piece = fc.constantFrom(
        ...'{}[]:,"\\0123456789.eE+-tfn \t\r\u0000\u001f\u00e9',
        "\\u12",
        "true",
        "null",
        "-0",
        "1e5",
      );
      fc.assert(
        fc.property(fc.json({ maxDepth: 4 }), fc.nat(), fc.nat(4), piece, (text, at, count, inserted) => {
          const place = at % (text.length + 1);
          const changed = (text.slice(0, place) + inserted + text.slice(place + count)).toWellFormed();
          expect([changed, isJsonLine(changed)]).toEqual([changed, parses(changed)]);
        }),
        { numRuns: 20_000 },
      );
    },
  );

  it("agrees with JSON.parse for any sequence of tokens", { tags: "rest/slow" }, () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      '"a"',
      '"',
      "1",
      "-",
      ".",
      "e",
      "0",
      "01",
      "true",
      "nul",
      " ",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join("");
        expect([text, isJsonLine(text)]).toEqual([text, parses(text)]);
      }),
      { numRuns: 50_000 },
    );
  });

  it("is false beyond a depth that every reader can handle", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
    ] as const) {
      const nested = (depth: number): string =>
        open.repeat(depth - 1) + (open === "[" ? "[]" : "{}") + close.repeat(depth - 1);
      expect(isJsonLine(nested(MAX_JSON_DEPTH))).toBe(true);
      expect(isJsonLine(nested(MAX_JSON_DEPTH + 1))).toBe(false);
      expect(isJsonLine(`{"a":${nested(MAX_JSON_DEPTH)},"a":1}`)).toBe(false);
      expect(isJsonLine(JSON.stringify([nested(MAX_JSON_DEPTH + 1), '\\"[']))).toBe(true);
    }
  });
});
