// Compares the durations that Cairn reads with java.time: node packages/config/dist/test/outside/durations/main.js
// [--rounds N] [--seed N]
import { parseArgs } from "node:util";
import { parseDuration } from "@cairn/text";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { CLOJURE_VERSION, hexOf, runClojure } from "../clojure.ts";

/** Durations that Java reads and Cairn refuses, by the message (docs/configuration.md). */
const DOCUMENTED = [
  /below zero|has a sign/,
  /longer than a hundred years/,
  /shorter than a millisecond/,
  /ends with T|digit is missing/,
];
/** Durations that Cairn reads in addition to Java's: weeks, fractions of days, hours and minutes, and many decimals. */
const BEYOND_JAVA = /W|[0-9][.,][0-9]+[DHM]|[.,][0-9]{10,}/i;

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const next = seededRandom(Number(values.seed ?? 1));
const texts = Array.from({ length: Number(values.rounds ?? 24_000) }, durationText);
const theirs = await runClojure("durations/read.clj", texts.map(hexOf));

const counts = { same: 0, "both refuse": 0, "refused as documented": 0, "beyond Java": 0, WRONG: 0 };
for (const [index, text] of texts.entries()) {
  const verdict = judge(text, theirs[index] ?? "");
  counts[verdict] += 1;
  if (verdict === "WRONG" && counts.WRONG <= 20) {
    process.stdout.write(
      `${JSON.stringify(text)}\n  Cairn: ${JSON.stringify(parseDuration(text))}\n  Java:  ${theirs[index]}\n`,
    );
  }
}
const told = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
process.stdout.write(
  `durations: ${texts.length} texts, java.time under Clojure ${CLOJURE_VERSION}: ${told.join(", ")}\n`,
);
process.exitCode = counts.WRONG === 0 ? 0 : 1;

function judge(text: string, their: string): keyof typeof counts {
  const own = parseDuration(text);
  if (their.startsWith("!")) {
    if ("fault" in own) return "both refuse";
    return BEYOND_JAVA.test(text) ? "beyond Java" : "WRONG";
  }
  if ("fault" in own) {
    const words = `${own.fault} ${own.hint ?? ""}`;
    return DOCUMENTED.some((kind) => kind.test(words)) ? "refused as documented" : "WRONG";
  }
  // Java counts nanoseconds, whereas Cairn counts whole milliseconds.
  return Math.abs(Number(their) / 1e6 - own.ms) <= 0.5 ? "same" : "WRONG";
}

function below(limit: number): number {
  return Math.floor(next() * limit);
}

function of(from: readonly string[]): string {
  return from[below(from.length)] ?? "";
}

function digits(): string {
  const whole =
    next() < 0.9 ? String(below(10 ** (1 + below(6)))) : of(["0", "00", "007", "", "99999999999"]);
  const sign = next() < 0.06 ? of(["-", "+"]) : "";
  const part = next() < 0.2 ? of([".", ","]) + of(["5", "25", "", "000", "123456789", "1234567890"]) : "";
  return sign + whole + part;
}

/** Returns a duration, or nearly one. */
function durationText(): string {
  const part = (unit: string, share: number): string => (next() < share ? digits() + unit : "");
  const days = part("Y", 0.03) + part("M", 0.04) + part("W", 0.08) + part("D", 0.4);
  const time = part("H", 0.4) + part("M", 0.4) + part("S", 0.4);
  const text = `${next() < 0.05 ? of(["-", "+"]) : ""}P${days}${time === "" && next() < 0.8 ? "" : "T"}${time}`;
  const cased = next() < 0.1 ? text.toLowerCase() : text;
  if (next() < 0.7) return cased;
  const at = below(cased.length + 1);
  return cased.slice(0, at) + of(["", " ", "P", "T", "H", "5", ".", "-", "٣"]) + cased.slice(at + below(2));
}
