import { seededRandom } from "@cairn/test-support/nodes/seeded-log";

const BLANKS = [
  " ",
  " ",
  " ",
  "\n",
  ",",
  "\t",
  "\r\n",
  "\r",
  " ; note\n",
  ";x\r",
  "\u2028",
  "\f",
  " #_gone ",
  " #_ [1 2] ",
];
const CHARS = Array.from("abcxyz019 \n\t\"\\;:#_^{}[]()'`~@/.+-*!?$%&=<>|,é日𝄞٣\u00a0\u0085\ufeff\u0000");
const NUMBERS = [
  "0",
  "1",
  "-1",
  "+7",
  "42N",
  "1.5",
  "-2.5e3",
  "1.5M",
  "1e5",
  "017",
  "08",
  "0x1F",
  "2r1010",
  "36rZZ",
  "1/2",
];
const ODD_NUMBERS = [
  "1a",
  "1.2.3",
  "0xfg",
  "9007199254740993",
  "1e400",
  "-0",
  "-0.0",
  "00.5",
  "1.",
  "1_000",
  "+",
  "-",
  "1N2",
  "4/0",
];
const NAMES = [
  "a",
  "b",
  "kv-store",
  "crux/module",
  "cairn/module",
  "a/b",
  "a/b/c",
  "x/2",
  "1a",
  "日本",
  "a|b",
  "a'b",
  "a#b",
  "/",
  "->x",
  ".5",
  "+a",
  "-",
  "_/x",
  "a:",
  "a::b",
  "true",
  "nil",
  "def",
  "ns",
];
const ESCAPES = [
  "\\\\",
  '\\"',
  "\\n",
  "\\t",
  "\\u00e9",
  "\\u12",
  "\\101",
  "\\7",
  "\\18",
  "\\400",
  "\\q",
  "\\x41",
  "\\ud800",
];
const ATOMS = [
  "nil",
  "true",
  "false",
  "\\a",
  "\\newline",
  "\\u0041",
  "\\o101",
  "\\ab",
  "##Inf",
  "##NaN",
  "::a",
  "@a",
  "`a",
  "^:a b",
  "^:a [1]",
  "#'a",
  "#(a)",
  '#"re"',
  "#?(:clj 1)",
  '#inst "2020-01-01"',
  "#foo 1",
  "'a",
  "'a/b",
  "''a",
  "'1",
  "#_",
  "#<a>",
];

/**
 * Returns `count` strings that are EDN or nearly EDN. They contain nesting, comments and discards, and every second one
 * is altered.
 */
export function ednTexts(seed: number, count: number): string[] {
  const next = seededRandom(seed);
  const below = (limit: number): number => Math.floor(next() * limit);
  const of = (from: readonly string[]): string => from[below(from.length)] ?? "";
  const blank = (): string => (next() < 0.2 ? "" : of(BLANKS));
  const many = (limit: number, make: () => string): string =>
    Array.from({ length: below(limit) }, make).join("");

  const text = (): string => {
    const rest = many(6, () =>
      next() < 0.4 ? of(ESCAPES.slice(0, next() < 0.7 ? 5 : undefined)) : of(CHARS.slice(0, 10)),
    );
    return `"${rest.replaceAll(/(?<=(?:^|[^\\])(?:\\\\)*)"/g, "")}"`;
  };
  const atom = (): string => {
    const dice = next();
    if (dice < 0.3) return text();
    if (dice < 0.5) return of(next() < 0.8 ? NUMBERS : ODD_NUMBERS);
    if (dice < 0.7) return `:${of(NAMES)}`;
    if (dice < 0.9) return of(NAMES);
    return of(ATOMS);
  };
  const form = (depth: number): string => {
    if (depth > 4 || next() < 0.35) return atom();
    const inner = (): string => form(depth + 1);
    const items = (limit: number): string => many(limit, () => `${inner()} ${blank()}`);
    const entries = (): string =>
      many(5, () => `${next() < 0.9 ? `:${of(NAMES)}` : inner()} ${blank()}${inner()}${blank()} `);
    const dice = next();
    if (dice < 0.4) return `{${blank()}${entries()}}`;
    if (dice < 0.65) return `[${blank()}${items(5)}]`;
    if (dice < 0.72) return `(${next() < 0.8 ? "f " : ""}${items(3)})`;
    if (dice < 0.78) return `#:${of(NAMES)}${blank()}{${entries()}}`;
    if (dice < 0.82) return `#{${items(4)}}`;
    return `[#_${blank()}${inner()} ${inner()}]`;
  };
  return Array.from({ length: count }, () => {
    let made = `${blank()}${form(0)}${blank()}`;
    const changes = next() < 0.5 ? 0 : 1 + below(3);
    for (let change = 0; change < changes; change += 1) {
      const at = below(made.length + 1);
      made = made.slice(0, at) + (next() < 0.6 ? of(CHARS) : "") + made.slice(at + (next() < 0.5 ? 1 : 0));
    }
    return made;
  });
}
