import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ConfigNode } from "../src/source/config-tree.ts";
import { readEdn } from "../src/source/edn.ts";
import { readJson } from "../src/source/json.ts";
import { plainValue } from "../src/types/plain-value.ts";
import { ProblemList } from "../src/source/problems.ts";
import { SourceText } from "../src/source/source-text.ts";

type Read = { readonly node: ConfigNode | undefined; readonly problems: ProblemList };

function edn(text: string): Read {
  const problems = new ProblemList();
  return { node: readEdn(new SourceText("edn", "-e", text), problems), problems };
}

function json(text: string): Read {
  const problems = new ProblemList();
  return { node: readJson(new SourceText("json", "-j", text), problems), problems };
}

/** Returns the plain value of readable EDN. */
function valueOf(text: string): unknown {
  const { node, problems } = edn(text);
  expect(problems.problems).toEqual([]);
  return node && plainValue(node);
}

describe("EDN", () => {
  test.each<[string, unknown]>([
    ["{:a 1, :b -2.5e3, :c +7, :d 5N, :e 1.5M}", { a: 1, b: -2500, c: 7, d: 5, e: 1.5 }],
    [
      "[true false nil :rebuild :a/b 'x.y/->z x.y/->z]",
      [true, false, null, "rebuild", "a/b", "x.y/->z", "x.y/->z"],
    ],
    [
      '"tab\\t quote\\" back\\\\ line\\n uni\\u00e9 (not a list) ;not a comment"',
      'tab\t quote" back\\ line\n unié (not a list) ;not a comment',
    ],
    ["; before\n{:a ; within\n 1 #_ {:gone [1 2]} #_ #_ :b 2} ; after", { a: 1 }],
    [
      "{:crux/a 1 :xtdb/b 2 :cairn/c 3 :other/d 4}",
      { "cairn/a": 1, "cairn/b": 2, "cairn/c": 3, "other/d": 4 },
    ],
    ["#:crux{:a 1 :b/c 2 :_/d 3}", { "cairn/a": 1, "b/c": 2, d: 3 }],
    ['{"crux/a" {"b" []}}', { "cairn/a": { b: [] } }],
    ["{:keep-dir-on-close? true}", { "keep-dir-on-close?": true }],
    ["(Duration/ofHours 6)", 21_600_000],
    ["{:a(Duration/ofMillis 6):b[1[2]{:c 3}]}", { a: 6, b: [1, [2], { c: 3 }] }],
    // `pnpm test:outside edn` compares these with Clojure's reader.
    ['{:path "C:\\\\data\\\\" :id "n"}', { path: "C:\\data\\", id: "n" }],
    ["[1 #_(a) #_ x #_#_ [a] {:b 2} 3]", [1, 3]],
    ["{:a 1 ;c\r:b 2\r}", { a: 1, b: 2 }],
    ['#:a {"b" 1 :c 2}', { b: 1, "a/c": 2 }],
    ["[:1a :a|b :日本 a/b/c .5]", ["1a", "a|b", "日本", "a/b/c", ".5"]],
    ["{:__proto__ 1}", JSON.parse('{"__proto__": 1}')],
  ])("%s is read", (text, value) => {
    expect(valueOf(text)).toEqual(value);
  });

  test.each([
    "{:a 1",
    "{:a 1}}",
    "[1 2)",
    "{:a}",
    "{:a 1 :a 2}",
    "1 2",
    "",
    "#{1}",
    '#inst "2020"',
    "\\a",
    "@a",
    "#(a)",
    "`a",
    "~a",
    "^a b",
    "#'a",
    '#"re"',
    "'1",
    "''a",
    "()",
    "(1)",
    "::a",
    ":",
    ":a/",
    "1.2.3",
    "0x1f",
    "08",
    "#_",
    '"\\x41"',
    '"',
    "##Inf",
    "#?(:a 1)",
    "{:a 1} ]",
    "#:a 1",
    "#a{:b 1}",
    "[#_]",
    "#_1a 2",
    "#_\\ab 2",
    "#_\\constructor 2",
    "#_#{1} 2",
    "#_2r1010 2",
    '"\\101"',
    "x/2",
    "#:a{:b 1 :a/b 2}",
  ])("%s is refused", (text) => {
    expect(edn(text).problems.problems.map(({ code }) => code)).toEqual(["CONFIG_SYNTAX"]);
  });

  test("gives every value its line and column", () => {
    const { node } = edn("{:a 1\n :b [x\n  (y 2)]}");
    const seen: string[] = [];
    const visit = (at: ConfigNode): void => {
      seen.push(`${at.type} ${at.origin.line}:${at.origin.column}`);
      if (at.type === "map") for (const entry of at.entries) visit(entry.value);
      if (at.type === "list") for (const item of at.items) visit(item);
    };
    if (node !== undefined) visit(node);
    expect(seen).toEqual(["map 1:1", "number 1:5", "list 2:5", "symbol 2:6", "call 3:3"]);
  });
});

/**
 * Plain data that both languages can express. Keys of older systems are omitted, because they are read as current ones.
 */
const data = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.double({ noDefaultInfinity: true, noNaN: true, min: -9e15, max: 9e15 }).map((value) => value + 0),
    fc.string({ unit: "grapheme" }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(
      fc.string({ unit: "grapheme" }).filter((key) => !/^(?:crux|xtdb)\//.test(key)),
      tie("value"),
      { maxKeys: 4 },
    ),
  ),
})).value;

/** Prints a value as EDN, with an unrealistic amount of white space, comments and discards. */
function printEdn(value: unknown, space: () => string): string {
  if (Array.isArray(value))
    return `[${space()}${value.map((item) => printEdn(item, space)).join(`${space()} `)}${space()}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, item]) => {
      const name = /^[a-z][a-z0-9-]*\??$/.test(key) ? `:${key}` : ednText(key);
      return `${name}${space()} ${printEdn(item, space)}`;
    });
    return `{${space()}${entries.join(", ")}${space()}}`;
  }
  if (value === null) return "nil";
  return typeof value === "string" ? ednText(value) : String(value);
}

function ednText(value: string): string {
  return `"${value.replace(/["\\]/g, "\\$&").replace(/[\n\t]/g, (letter) => (letter === "\n" ? "\\n" : "\\t"))}"`;
}

test("EDN reads everything that JSON can express, even with comments", () => {
  fc.assert(
    fc.property(
      data,
      fc.infiniteStream(fc.constantFrom("", " ", "\n", ",", " ; note\n", " #_ gone ", ' #_{:a "}"} ')),
      (value, spaces) => {
        const text = printEdn(value, () => spaces.next().value ?? "");
        const fromJson = json(JSON.stringify(value)).node;
        const fromEdn = edn(text).node;
        expect(fromEdn && plainValue(fromEdn)).toEqual(fromJson && plainValue(fromJson));
        expect(fromJson && plainValue(fromJson)).toEqual(value);
      },
    ),
    { numRuns: 500 },
  );
});

test("changed JSON is refused if and only if the standard refuses it", () => {
  const odd = fc.constantFrom(
    "",
    ",",
    "}",
    "]",
    "{",
    '"',
    ":",
    "//",
    "/**/",
    "0",
    "\\",
    "\n",
    "\t",
    "e",
    "-",
    "'",
    "tru",
    "NaN",
    " ",
  );
  fc.assert(
    fc.property(data, fc.nat(), fc.nat(3), odd, (value, at, gone, put) => {
      const whole = JSON.stringify(value);
      const from = at % (whole.length + 1);
      const text = whole.slice(0, from) + put + whole.slice(from + gone);
      const { node, problems } = json(text);
      const standard = parsed(text);
      const twice = problems.problems.some(({ message }) => message.includes("is repeated"));
      if (standard === undefined) expect(problems.problems).not.toEqual([]);
      else if (!twice) expect(node && plainValue(node)).toEqual(standard.value);
    }),
    { numRuns: 2000 },
  );
});

test("no input makes either reader throw or loop", () => {
  const piece = fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    '"',
    "\\",
    ";",
    "#",
    "#_",
    "'",
    ":a",
    "a/b",
    "1",
    "1.5",
    " ",
    "\n",
    "^",
    "@",
    "~",
    "`",
    "#:a",
    "##",
    "é",
    "nil",
    "def",
    "ns",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = pieces.join("");
      for (const { node, problems } of [edn(text), json(text)])
        expect(node === undefined).toBe(problems.problems.length > 0);
    }),
    { numRuns: 3000 },
  );
});

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
