import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "@cairn/client";
import { fieldTexts } from "../../../src/index/fields/field-texts.ts";
import { documentRowKey } from "../../../src/index/rows/row-keys.ts";
import { encodeVersion } from "../../../src/index/rows/version-values.ts";
import type { FieldIndex } from "../../../src/index/policies/active-policies.ts";
import { indexedText, textOfIndexed } from "../../../src/index/rows/field-row-keys.ts";
import { fieldPath, fieldValue } from "../../../src/policies/field-values.ts";

const FIELDS = [
  "state",
  "node",
  "spec.image",
  "spec.deep.er",
  "",
  "é",
  "a\u0000b",
  "__proto__",
  "state.inner",
];
const INDEXES: readonly FieldIndex[] = FIELDS.map((field, id) => ({
  id,
  bucket: "pods",
  field,
  path: fieldPath(field),
}));

const ROW_KEY = documentRowKey("pods", "default/web");

function found(text: string | Buffer): readonly (string | undefined)[] {
  return fieldTexts(encodeVersion(ROW_KEY, 7, 1_000, Buffer.from(text as string, "utf8")), INDEXES);
}

/** Returns the result of a parser. */
function expected(text: string | Buffer): readonly (string | undefined)[] {
  const document = JSON.parse(text.toString()) as Json;
  return INDEXES.map(({ path }) => indexedText(fieldValue(document, path)));
}

const name = fc.oneof(
  fc.constantFrom("state", "node", "spec", "deep", "er", "image", "inner", "", "é", "a\u0000b", "__proto__"),
  fc.string({ unit: "binary" }),
);
/** Strings that are about as long as the ones that are searched natively, with quotes and escapes near the limit. */
const longText = fc
  .array(fc.constantFrom('"', "\\", "x", "xyz", "}", ",", "é"), { minLength: 15, maxLength: 60 })
  .map((parts) => parts.join(""));
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc
      .oneof(fc.string({ unit: "binary" }), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean())
      .map((one) => JSON.stringify(one)),
    longText.map((one) => JSON.stringify(one)),
    fc.constantFrom(
      "null",
      "-0",
      "1E3",
      "12.50",
      "1e400",
      "-1e400",
      "1e-400",
      "12345678901234567890",
      '"\\u0061\\n"',
      '""',
      "[]",
      "{}",
      '"running"',
    ),
    fc.array(tie("value")).map((all) => `[${all.join(",")}]`),
    membersOf(tie("value")),
  ),
}));

/** Objects as JSON: with spaces, repeated names, and names with escapes. */
function membersOf(of: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const space = fc.constantFrom("", "", " ", "\n\t", "\r");
  const written = name.chain((one) =>
    fc.constantFrom(JSON.stringify(one), JSON.stringify(one), escapedText(one)),
  );
  const member = fc
    .tuple(space, written, space, of, space)
    .map(([a, one, b, two, c]) => `${a}${one}${b}:${a}${two}${c}`);
  return fc
    .tuple(fc.array(member, { maxLength: 8 }), space)
    .map(([members, gap]) => `{${gap}${members.join(",")}}`);
}

function isJson(json: Buffer): boolean {
  try {
    JSON.parse(json.toString());
    return true;
  } catch {
    return false;
  }
}

/** Escapes every UTF-16 unit. */
function escapedText(text: string): string {
  const units = Array.from({ length: text.length }, (_, at) =>
    text.charCodeAt(at).toString(16).padStart(4, "0"),
  );
  return `"${units.map((unit) => `\\u${unit}`).join("")}"`;
}

describe("the values of indexed fields", () => {
  it(
    "equal the values that result from parsing the document, however it is written",
    { tags: "rest/slow" },
    () => {
      fc.assert(
        fc.property(fc.oneof(membersOf(value), value), (text) => {
          expect(found(text)).toEqual(expected(text));
        }),
        { numRuns: 3_000 },
      );
    },
  );

  it(
    "equal the values that result from parsing, even if bytes in a name or a value are not UTF-8",
    { tags: "rest/slow" },
    () => {
      const bytes = fc.uint8Array({ minLength: 1, maxLength: 4, min: 0x80 });
      const place = fc.nat();
      const foreign = fc.array(fc.tuple(place, bytes), { maxLength: 6 });
      fc.assert(
        fc.property(membersOf(value), foreign, (text, all) => {
          let json = Buffer.from(text);
          for (const [at, more] of all) {
            // The change is made after a quote or a letter, which is usually inside a name or a value.
            const inside = at % json.length;
            json = Buffer.concat([json.subarray(0, inside), more, json.subarray(inside)]);
          }
          fc.pre(isJson(json));
          expect(found(json)).toEqual(expected(json));
        }),
        { numRuns: 3_000 },
      );
    },
  );

  it("are found in documents of several megabytes, and after a value nested a hundred thousand deep", () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const large = JSON.stringify('\\"{['.repeat(500_000));
    const text = `{"before":${large},"deep":${deep},"spec":{"deep":{"more":${deep},"er":"x"}},"state":"on"}`;
    expect(found(text)).toEqual(expected(text));
    expect(found(text)).toEqual(["son", undefined, undefined, "sx", ...Array.from({ length: 5 })]);
  });

  it.each([
    ['{"state":"running","node":"n-1"}', "running", "n-1"],
    ['{"node":"a","state":"first","x":{"state":"inside"},"state":"last"}', "last", "a"],
    ['{"text":"\\"state\\":\\"no\\"","state":"yes","node":1.50}', "yes", "1.5"],
    ['{"st\\u0061te":"escaped","node":true}', "escaped", "true"],
    ['{"list":["state","}",{"state":"in a list"}],"node":"b"}', undefined, "b"],
    ['"state"', undefined, undefined],
    ["null", undefined, undefined],
    ["[1]", undefined, undefined],
    ["{}", undefined, undefined],
    [`{"state":"${"x".repeat(1_024)}","node":"${"x".repeat(1_025)}"}`, "x".repeat(1_024), undefined],
    [`{"state":"${"é".repeat(512)}","node":"${"é".repeat(513)}"}`, "é".repeat(512), undefined],
    ['{"state":null,"node":{"a":1}}', undefined, undefined],
  ])("are correct in %s", (text, state, node) => {
    const [first, second] = found(text).map((one) => (one === undefined ? one : textOfIndexed(one)));
    expect([first, second]).toEqual([state, node]);
    expect(found(text)).toEqual(expected(text));
  });

  it("do not exist for a deletion or an absent document", () => {
    expect(fieldTexts(encodeVersion(ROW_KEY, 7, 1_000, undefined), INDEXES)).toEqual([]);
    expect(fieldTexts(undefined, INDEXES)).toEqual([]);
  });

  it("throw for a document that is not JSON", () => {
    for (const text of [
      '{"state":"running"',
      '{"state"',
      '{"state":[',
      '{"state":"x"]',
      "{",
      '{"state":',
      '\ufeff{"state":"on"}',
    ]) {
      expect(() => found(text)).toThrow(SyntaxError);
    }
  });
});
