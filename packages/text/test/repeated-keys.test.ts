import fc from "fast-check";
import { expect, it } from "vitest";
import { repeatedKeys } from "../src/repeated-keys.ts";

it("the search for repeated keys finds nothing in the output of JSON.stringify", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), fc.integer({ min: 0, max: 3 }), (json, indent) => {
      expect(repeatedKeys(JSON.stringify(JSON.parse(json), undefined, indent), "x")).toEqual([]);
    }),
  );
});

it("the search for repeated keys finds a repeated key with its path, at any depth and in any spelling", () => {
  const key = fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.array(fc.oneof(key, fc.constant(undefined)), { maxLength: 8 }), key, (way, name) => {
      const quoted = JSON.stringify(name);
      const escaped = `"${[...name].map(escapes).join("")}"`;
      // Keys of surrounding maps have the same name, which does not count as a repetition.
      const inner = `{${quoted}: {${quoted}: "${"}"}"}, ${escaped}: [{${quoted}: 1}, {${quoted}: 2}]}`;
      const json = way.reduceRight<string>(
        (text, at) => (at === undefined ? `[0, ${text}]` : `{${JSON.stringify(at)}: ${text}}`),
        inner,
      );
      expect(JSON.parse(json)).toBeDefined();
      expect(repeatedKeys(json, "x").map(({ path }) => path)).toEqual([
        [...way.map((at) => at ?? "1"), name],
      ]);
    }),
  );
});

it("the search for repeated keys reads JSON nested a hundred thousand levels deep", () => {
  const json = `${"[".repeat(100_000)}{"a":1,"a":2}${"]".repeat(100_000)}`;
  expect(repeatedKeys(json, "x")).toHaveLength(1);
});

function escapes(character: string): string {
  let written = "";
  for (let at = 0; at < character.length; at++) {
    written += `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`;
  }
  return written;
}

it("many repeated keys on one long line are found in linear time", () => {
  const json = `{${'"a":1,'.repeat(200_000)}"a":1}`;
  expect(repeatedKeys(json, "x")).toHaveLength(200_000);
});
