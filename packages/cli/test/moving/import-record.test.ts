import { expect, test } from "vitest";
import { documentOf, parseKeyPattern, placeOfKey } from "../../src/moving/import-record.ts";

/** JSON that is nested more deeply than a document may be. */
const DEEP = `${"[".repeat(501)}${"]".repeat(501)}`;

test.each([
  ['{"a": 1}', { a: 1 }],
  ["42", 42],
  ['"text"', "text"],
  ["null", null],
  ["text", { text: "text" }],
  ["", { text: "" }],
  // These would not be kept exactly.
  ["9007199254740993", { text: "9007199254740993" }],
  ['{"a":1,"a":2}', { text: '{"a":1,"a":2}' }],
  [DEEP, { text: DEEP }],
])("the value %s becomes a document that loses nothing", (value, document) => {
  expect(documentOf(Buffer.from(value), "wrap")).toEqual({ json: JSON.stringify(document) });
});

test("a value that is not text is wrapped as base64, or refused", () => {
  const bytes = Buffer.from([0xff, 0x00]);
  expect(documentOf(bytes, "wrap")).toEqual({ json: '{"base64":"/wA="}' });
  expect(documentOf(bytes, "refuse")).toMatchObject({ code: "TX_INVALID" });
  expect(documentOf(Buffer.from("text"), "refuse")).toMatchObject({
    message: expect.stringContaining("not valid JSON") as string,
  });
});

const placement = { bucket: "etcd", namespace: "default", pattern: undefined };

test("a key is the name of the document, unless a pattern divides it", () => {
  expect(placeOfKey(Buffer.from("/a/b"), placement)).toEqual({
    bucket: "etcd",
    namespace: "default",
    name: "/a/b",
  });
  const pattern = parseKeyPattern("^/(?<namespace>[^/]+)/(?<name>.+)$");
  expect(placeOfKey(Buffer.from("/a/b/c"), { ...placement, pattern })).toEqual({
    bucket: "etcd",
    namespace: "a",
    name: "b/c",
  });
  expect(placeOfKey(Buffer.from("a"), { ...placement, pattern })).toMatchObject({
    code: "REQUEST_INVALID",
    message: expect.stringContaining("does not match --key-pattern") as string,
  });
});

test.each(["(", "^(?<nam>.*)$", "^(?<bucket>.*)$"])("the pattern %s is wrong usage", (pattern) => {
  expect(() => parseKeyPattern(pattern)).toThrow("--key-pattern");
});
