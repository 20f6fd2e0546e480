import { describe, expect, it } from "vitest";
import { parseTimeout } from "../../src/requests/parameters.ts";
import { parseAsOf, parseTime } from "@cairn/text";

describe("a duration in an address", () => {
  it.each([
    ["0", 0],
    ["2500", 2_500],
    ["PT5S", 5_000],
    ["PT0.01S", 10],
    ["PT1M30.5S", 90_500],
    ["PT0.5H", 1_800_000],
    ["PT1H", 3_600_000],
    ["PT2H", 3_600_000],
    ["P1D", 3_600_000],
    ["P1W2DT1H", 3_600_000],
    ["999999999999999", 3_600_000],
  ])("%s is %i ms, at most an hour", (text, ms) => {
    expect(parseTimeout(text, "timeout")).toBe(ms);
  });

  it.each([
    ["5s", "Did you mean PT5S?"],
    ["500ms", "Did you mean PT0.5S?"],
    ["2.5", "Did you mean PT2.5S? A duration must have a unit."],
    ["PT7D", "Did you mean P7D? Days stand before the T."],
  ])("%s is rejected with the form that was probably meant", (text, hint) => {
    let told: unknown;
    try {
      parseTimeout(text, "timeout");
    } catch (error) {
      told = (error as { hint?: string }).hint;
    }
    expect(told).toBe(hint);
  });

  it.each(["", "5s", "P", "PT", "P1DT", "PT5", "P1Y", "P1M", "-PT1S", "PT-1S", "pt5s", "PT.5S", "1e3", " 5"])(
    "%j is refused",
    (text) => {
      expect(() => parseTimeout(text, "timeout")).toThrow(/^timeout must be a duration, such as PT5S, not/);
    },
  );
});

describe("a time in an address", () => {
  it.each([
    ["2026-11-20T06:12:26.123Z", "2026-11-20T06:12:26.123Z"],
    ["2026-11-20T07:12:26.123+01:00", "2026-11-20T06:12:26.123Z"],
    // Times in the form of generated Python clients, with and without a zone, and with an unescaped +.
    ["2026-11-20T06:12:26.123000+0000", "2026-11-20T06:12:26.123Z"],
    ["2026-11-20T06:12:26.123000", "2026-11-20T06:12:26.123Z"],
    ["2026-11-20T07:12:26.123 01:00", "2026-11-20T06:12:26.123Z"],
  ])("%s is %s", (text, time) => {
    expect(parseTime(text, "--at")).toBe(time);
  });

  it.each(["", "0", "5", "2026-11-20", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "yesterday"])(
    "%j is refused",
    (text) => {
      expect(() => parseTime(text, "--at")).toThrow(/^--at must be an ISO 8601 time, not/);
    },
  );

  it.each(["+99:99", " 25:00", "-99:99", "+24:00", "-00:60", "+2400", "-0060", "+24", "+1", "+01:0"])(
    "is refused with the offset %j",
    (offset) => {
      const text = `2026-11-20T06:12:26${offset}`;
      expect(() => parseTime(text, "--at")).toThrow(/^--at must be an ISO 8601 time, not/);
      expect(() => parseAsOf(text, "as-of")).toThrow(/^as-of must be a transaction id or an ISO 8601 time/);
    },
  );

  it.each([
    "12:00",
    "T12:00",
    "2026",
    "2026-11",
    "2026-333",
    "2026-W48-7",
    "20261129T2200",
    "2026-11-29T22",
    "2026-11-29T22:00:00[Europe/Paris]",
    "--11-29",
    "+002026-11-29",
    " 2026-11-29",
  ])("%j is refused if it is not an id, because it does not name a day and a minute", (text) => {
    if (text === "2026") expect(parseAsOf(text, "as-of")).toEqual({ txId: 2026 });
    else
      expect(() => parseAsOf(text, "as-of")).toThrow(/^as-of must be a transaction id or an ISO 8601 time/);
    expect(() => parseTime(text, "--at")).toThrow(/^--at must be an ISO 8601 time, not/);
  });

  it.each(["2026-11-20", "2026-11-20T06:12", "2026-11-20T06:12:26,5Z", "2026-11-20T06:12:26.123456789Z"])(
    "may be %j",
    (text) => expect(parseAsOf(text, "as-of")).toHaveProperty("time"),
  );

  it.each(["+14:00", "-12:00", "+0530", "+23:59", "-03", " 05:45"])("may have the offset %j", (offset) => {
    expect(parseAsOf(`2026-11-20T06:12:26${offset}`, "as-of")).toHaveProperty("time");
  });
});
