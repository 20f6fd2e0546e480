// Adds vitest's closing lines up to the plain one: node count.mjs SECONDS LOG STATUS [LOG STATUS]... SECONDS is how long
// the first run took. Fails when a run failed or counted no test, or when the first one was too slow.
import { readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";

/** The README promises six minutes; machines differ by a factor of two. */
const [PROMISED_MINUTES, MAX_MINUTES] = [6, 15];
/** The maximum number of failures of a run that are repeated at the end, for readers who see only the end of the log. */
const MAX_LINES = 40;

const [seconds, ...runs] = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
for (let at = 0; at < runs.length; at += 2) {
  const lines = stripVTControlCharacters(readFileSync(runs[at], "utf8")).split("\n");
  const line = lines.findLast((text) => /^\s*Tests\s+.*\d/.test(text));
  const count = (word) => Number(line?.match(new RegExp(`(\\d+) ${word}`))?.[1] ?? 0);
  const [passed, failed] = [count("passed"), count("failed")];
  // A run that broke before or outside a test (build, lint, an unhandled error) is one failure, too.
  const isBroken = runs[at + 1] !== "0" || failed > 0 || passed === 0;
  if (isBroken)
    failures.push(
      ...[...new Set(lines.filter((text) => /^\s*FAIL\s|^\w*Error\b/.test(text)))].slice(0, MAX_LINES),
    );
  total.passed += passed;
  total.failed += isBroken ? Math.max(failed, 1) : 0;
  total.skipped += count("skipped") + count("todo");
}
for (const text of failures) console.log(text);
const minutes = Number(seconds) / 60;
console.log(`The first tier took ${minutes.toFixed(1)} minutes; ${PROMISED_MINUTES} are promised.`);
if (minutes > MAX_MINUTES) {
  console.log(`That is more than ${MAX_MINUTES}, which counts as a failure.`);
  total.failed += 1;
}
console.log(
  `${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`,
);
process.exit(total.failed > 0 ? 1 : 0);
