import { durationMs } from "@cairn/client/protocol";
import fc from "fast-check";
import { Duration } from "luxon";
import { expect, test } from "vitest";
import { policyMilliseconds } from "@cairn/engine/src/policies/policy-problems";
import { policyProblems } from "@cairn/engine";
import { luxonDuration, parseDuration, isoDurationText } from "../src/duration.ts";

test.each<[string, number]>([
  ["PT6H", 21_600_000],
  ["P7D", 604_800_000],
  ["P2W", 1_209_600_000],
  ["P1DT2H3M4.5S", 93_784_500],
  ["PT0,5S", 500],
  ["PT0.001S", 1],
  ["pt90m", 5_400_000],
  ["PT1.5H", 5_400_000],
  ["PT0S", 0],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toEqual({ ms });
});

test.each<[string, string]>([
  ["PT7D", "Did you mean P7D? Days stand before the T."],
  ["PT2W", "Did you mean P2W? Weeks stand before the T."],
  ["PT1D12H", "Did you mean P1DT12H? Days stand before the T."],
  ["P6H", "Did you mean PT6H? Hours, minutes and seconds stand after the T."],
  ["P1D6H", "Did you mean P1DT6H? Hours, minutes and seconds stand after the T."],
  ["P30S", "Did you mean PT30S? Hours, minutes and seconds stand after the T."],
  ["6h", "Did you mean PT6H?"],
  ["30 minutes", "Did you mean PT30M?"],
  ["7 days", "Did you mean P7D?"],
  ["1w", "Did you mean P1W?"],
  ["500ms", "Did you mean the number 500 without quotes? Numbers are milliseconds."],
  ["T6H", "Did you mean PT6H?"],
  ["7D ", "Did you mean P7D?"],
  ["60000", "Write 60000 without quotes for milliseconds, or with a unit, such as PT60S."],
  ["-PT6H", "It has a sign: write it without one, above zero, such as PT6H."],
  ["P+1D", "It has a sign: write it without one, above zero, such as PT6H."],
  ["P1DT", "It ends with T: write P1D."],
  [" PT1H", "Did you mean PT1H?"],
  ["PT1.S", "A digit is missing behind the point, as in PT1.5S."],
  ["P", "Write ISO-8601, such as PT6H, PT30M or P7D, or a whole number of milliseconds."],
  ["PT", "Write ISO-8601, such as PT6H, PT30M or P7D, or a whole number of milliseconds."],
  ["", "Write ISO-8601, such as PT6H, PT30M or P7D, or a whole number of milliseconds."],
])("%j is refused with a hint", (text, hint) => {
  expect(parseDuration(text)).toEqual({ fault: `${JSON.stringify(text)} is not a duration.`, hint });
});

test.each(["P1Y", "P3M", "P1Y2DT3H"])(
  "%s is refused, because years and months have no fixed length",
  (text) => {
    expect(parseDuration(text)).toMatchObject({ fault: `${JSON.stringify(text)} counts years or months.` });
  },
);

test.each(["P99999D", "PT9999999999999999H"])("%s is refused as too long to be useful", (text) => {
  expect(parseDuration(text)).toMatchObject({
    fault: `${JSON.stringify(text)} is longer than a hundred years.`,
  });
});

test("a duration shorter than a millisecond is not mistaken for zero", () => {
  expect(parseDuration("PT0.0001S")).toMatchObject({ fault: '"PT0.0001S" is shorter than a millisecond.' });
});

test("an ISO duration without years and months has the length that luxon computes", () => {
  const part = fc.nat(400);
  fc.assert(
    fc.property(part, part, part, part, part, (weeks, days, hours, minutes, seconds) => {
      const text = Duration.fromObject({ weeks, days, hours, minutes, seconds }).toISO();
      expect(parseDuration(text)).toEqual({ ms: Duration.fromISO(text).toMillis() });
    }),
  );
});

test("a director reads every duration that policies accept, and as the nodes read it", () => {
  const amount = fc.oneof(
    fc.nat(400).map(String),
    fc.tuple(fc.nat(400), fc.constantFrom(".", ","), fc.nat(99_999)).map((parts) => parts.join("")),
  );
  const part = (unit: string) =>
    fc.oneof(
      fc.constant(""),
      amount.map((text) => `${text}${unit}`),
    );
  const date = fc.tuple(...["Y", "M", "W", "D"].map(part)).map((parts) => parts.join(""));
  const time = fc.tuple(...["H", "M", "S"].map(part)).map((parts) => parts.join(""));
  const text = fc.tuple(fc.oneof({ weight: 3, arbitrary: fc.constant("") }, date), time);
  const upper = text.map(([days, rest]) => `P${days}${rest === "" ? "" : `T${rest}`}`);
  const iso = fc.oneof(
    upper,
    upper.map((one) => one.toLowerCase()),
  );
  const duration = fc.oneof(iso, fc.string(), fc.nat(), fc.double({ noNaN: true, min: 0, max: 10_000 }));
  const queue = { shards: 1, cap: 1, terminal: { state: "done" } };
  fc.assert(
    fc.property(duration, (lease) => {
      if (policyProblems({ queues: { jobs: { ...queue, lease } } }).length === 0)
        expect(durationMs(lease)).toBe(policyMilliseconds(lease));
    }),
    { numRuns: 2_000 },
  );
});

test("a luxon Duration is accepted, unless it is invalid or contains months", () => {
  expect(luxonDuration(Duration.fromObject({ hours: 6, minutes: 30 }))).toEqual({ ms: 23_400_000 });
  expect(luxonDuration(Duration.fromObject({ months: 1 }))).toMatchObject({
    fault: "This Duration counts years or months.",
  });
  expect(luxonDuration(Duration.fromISO("nonsense"))).toMatchObject({ fault: "This Duration is invalid." });
});

test.each(["P28D", "P30D", "P400D", "P9999D", "P1DT1H1M1.001S", "PT0.5S", "PT6H"])(
  "a duration is printed as it can be configured again: %s",
  (text) => {
    const parsed = parseDuration(text);
    expect("ms" in parsed && isoDurationText(parsed.ms)).toBe(text);
  },
);
