// Turns vitest's closing line into the plain one; fails when the run failed, or when it counted no test.
import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";

const [, , log, status] = process.argv;
const line = stripVTControlCharacters(readFileSync(log, "utf8"))
  .split("\n")
  .findLast((text) => /^\s*Tests\s+.*\d/.test(text));
const count = (word) => Number(line?.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
const [passed, failed, skipped] = [count("passed"), count("failed"), count("skipped") + count("todo")];
const bad = status !== "0" || failed > 0 || passed === 0;
// A run that broke before or outside a test (build, lint, an unhandled error) is one failure, too.
console.log(
  `${passed} passed, ${bad ? Math.max(failed, 1) : 0} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
);
process.exit(bad ? 1 : 0);
