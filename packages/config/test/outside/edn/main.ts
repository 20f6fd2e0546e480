// Compares the values that Cairn reads from EDN with those of Clojure's own reader: node
// packages/config/dist/test/outside/edn/main.js [--rounds N] [--seed N]
import { parseArgs } from "node:util";
import { readEdn } from "../../../src/source/edn.ts";
import { ProblemList } from "../../../src/source/problems.ts";
import { SourceText } from "../../../src/source/source-text.ts";
import { CLOJURE_VERSION, hexOf, runClojure } from "../clojure.ts";
import { ednTexts } from "./edn-texts.ts";
import { plainForm } from "./plain-form.ts";

/** Input that Clojure reads and a configuration refuses (docs/configuration.md). */
const DOCUMENTED = [
  /^The configuration is empty/,
  / has no meaning in a configuration\.$/s,
  /is not a number in decimal digits\.$/s,
  /is too large; numbers go up to/,
  /^A key must be a keyword/,
  /is repeated\.$/,
  / mean the same\.$/s,
  /^A list in parentheses must begin with a name/,
  /^This is nested more than/,
  // Clojure accepts the digits of other scripts as digits.
  /^A configuration has no escape \\(?:[0-7u]|[^\0-\x7f])/,
];

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const texts = ednTexts(Number(values.seed ?? 1), Number(values.rounds ?? 100_000));
const begin = performance.now();
const ours = texts.map(read);
const seconds = (performance.now() - begin) / 1000;
const theirs = await runClojure("edn/read.clj", texts.map(hexOf));

const counts = { same: 0, "both refuse": 0, "refused as documented": 0, "byte order mark": 0, WRONG: 0 };
for (const [index, text] of texts.entries()) {
  const [own, their] = [ours[index] ?? "", theirs[index] ?? ""];
  const verdict = judge(text, own, their);
  counts[verdict] += 1;
  if (verdict === "WRONG" && counts.WRONG <= 20) {
    process.stdout.write(`${JSON.stringify(text)}\n  Cairn:   ${own}\n  Clojure: ${their}\n`);
  }
}
const told = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
process.stdout.write(
  `edn: ${texts.length} texts, Clojure ${CLOJURE_VERSION}: ${told.join(", ")}; read in ${seconds.toFixed(1)} s\n`,
);
process.exitCode = counts.WRONG === 0 ? 0 : 1;

function read(text: string): string {
  const problems = new ProblemList();
  const node = readEdn(new SourceText("edn", "-e", text), problems);
  return node === undefined ? `!${problems.problems[0]?.message}` : plainForm(node);
}

function judge(text: string, own: string, their: string): keyof typeof counts {
  if (own === their) return "same";
  // Clojure treats the byte order mark as a character of a name, but editors ignore it.
  if (text.startsWith("\ufeff")) return "byte order mark";
  const isRefused = own.startsWith("!");
  if (their.startsWith("!")) return isRefused ? "both refuse" : "WRONG";
  if (isRefused)
    return DOCUMENTED.some((kind) => kind.test(own.slice(1))) ? "refused as documented" : "WRONG";
  // A quote before a symbol is code, which a configuration in the form of code may contain.
  return own === their.replaceAll(/y0027(?!0027)/g, "y") ? "same" : "WRONG";
}
