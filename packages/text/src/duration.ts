import { isoDuration } from "@cairn/client/protocol";
import { Duration } from "luxon";

/** A number of milliseconds, or the reason why a value is not a duration. */
export type DurationResult = { readonly ms: number } | { readonly fault: string; readonly hint?: string };

/** The calls allowed in EDN, such as `(Duration/ofHours 6)`, each with its unit in milliseconds. */
export const DURATION_CALLS: ReadonlyMap<string, number> = new Map([
  ["Duration/ofDays", 86_400_000],
  ["Duration/ofHours", 3_600_000],
  ["Duration/ofMinutes", 60_000],
  ["Duration/ofSeconds", 1000],
  ["Duration/ofMillis", 1],
]);

const NUMBER = "[0-9]+(?:[.,][0-9]+)?";
/** Matches durations with signs before the whole duration or its parts, as java.time allows. */
const SIGNED = /^(?=.*[+-])[+-]?P(?:[+-]?[0-9.,]+[YMWD])*(?:T(?:[+-]?[0-9.,]+[HMS])*)?$/;
const PLAIN = new RegExp(
  `^(${NUMBER})\\s*(ms|millis|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)$`,
);
// Not an average (30.44 days), which users who write P1M do not mean. Most of them mean minutes.
const NO_FIXED_LENGTH = "A year or a month has no fixed length; write days, such as P30D.";

/**
 * Parses an ISO 8601 duration without years and months, whose length is not fixed. `bare`: `text` is in an option or a
 * URL, so hints do not mention quotes. Other faults and hints are part of the index version, because the index stores
 * the first problem of a policy in the log (docs/internals/log-format.md, "Outcomes and reasons").
 */
export function parseDuration(text: string, options: { readonly bare?: boolean } = {}): DurationResult {
  const duration = isoDuration(text);
  if (duration === undefined) {
    const hint =
      options.bare === true ? (bareNumber(text) ?? suggestDuration(text, ISO_ALONE)) : suggestDuration(text);
    return { fault: `${JSON.stringify(text)} is not a duration.`, hint };
  }
  const { years, months, weeks, ms } = duration;
  if (ms === undefined) {
    const minutesMeant = months !== undefined && years === undefined && weeks === undefined;
    const hint = minutesMeant
      ? `${NO_FIXED_LENGTH} Or did you mean PT${months}M? Minutes stand after the T.`
      : NO_FIXED_LENGTH;
    return { fault: `${JSON.stringify(text)} counts years or months.`, hint };
  }
  return wholeMilliseconds(ms, JSON.stringify(text));
}

/** Formats a duration as it can be configured: without months and years, whose length is not fixed. */
export function isoDurationText(ms: number): string {
  // Without a locale, luxon asks the system for one, which takes 15 ms.
  const duration = Duration.fromMillis(ms, { locale: "en" });
  return duration.shiftTo("days", "hours", "minutes", "seconds").toISO() ?? `${ms} ms`;
}

/** A Duration of any copy of luxon, whose types a program that installs this package does not have. */
interface AnyDuration {
  readonly isValid: boolean;
  readonly invalidExplanation: string | null;
  readonly years: number;
  readonly quarters: number;
  readonly months: number;
  toMillis(): number;
}

export function luxonDuration(duration: AnyDuration): DurationResult {
  if (!duration.isValid)
    return {
      fault: "This Duration is invalid.",
      hint: duration.invalidExplanation ?? "Create it with Duration.fromObject.",
    };
  if ((duration.years || 0) !== 0 || (duration.quarters || 0) !== 0 || (duration.months || 0) !== 0) {
    return { fault: "This Duration counts years or months.", hint: NO_FIXED_LENGTH };
  }
  return wholeMilliseconds(duration.toMillis(), "This Duration");
}

/** Rounds a number of milliseconds and checks that timers and dates can hold it. `shown` is the number as shown in messages. */
export function wholeMilliseconds(value: number, shown: string): DurationResult {
  const ms = Math.round(value);
  if (!Number.isSafeInteger(ms) || ms > 100 * 366 * 86_400_000) {
    return {
      fault: `${shown} is longer than a hundred years.`,
      hint: "Write a shorter one, or leave the parameter out where it may be.",
    };
  }
  if (ms < 0) return { fault: `${shown} is below zero.`, hint: "Write a longer one, such as PT1S." };
  if (ms === 0 && value !== 0)
    return { fault: `${shown} is shorter than a millisecond.`, hint: "Write a longer one, such as PT1S." };
  return { ms };
}

const ISO_ALONE = "Write ISO-8601, such as PT6H, PT30M or P7D.";

/** Returns a hint for a number without a unit, which usually means seconds, or for milliseconds. */
function bareNumber(text: string): string | undefined {
  const [, count, unit] =
    new RegExp(`^(${NUMBER})\\s*(ms|millis|milliseconds?)?$`, "i").exec(text.trim()) ?? [];
  if (count === undefined) return undefined;
  const value = Number(count.replace(",", "."));
  if (value === 0) return "Write a length above zero, such as PT5S.";
  if (unit === undefined) return `Did you mean PT${count}S? A duration must have a unit.`;
  // The suggestion is at least a millisecond, because it must itself be acceptable.
  return `Did you mean PT${Math.max(1, Math.round(value)) / 1000}S?`;
}

/** Returns a hint on what a string that is not an ISO 8601 duration was probably meant to be. */
function suggestDuration(
  text: string,
  otherwise = `${ISO_ALONE.replace(/\.$/, "")}, or a whole number of milliseconds.`,
): string {
  const trimmed = text.trim();
  const upper = trimmed.toUpperCase();
  const plain = PLAIN.exec(trimmed.toLowerCase());
  if (plain !== null) {
    const [, count = "", unit = ""] = plain;
    if (unit.startsWith("ms") || unit.startsWith("milli")) {
      return `Did you mean the number ${count} without quotes? Numbers are milliseconds.`;
    }
    const letter = unit.charAt(0).toUpperCase();
    return `Did you mean P${letter === "D" || letter === "W" ? "" : "T"}${count}${letter}?`;
  }
  if (/^[0-9]+$/.test(trimmed)) {
    const seconds = trimmed.replace(/(?<=\d)000$/, "");
    return `Write ${trimmed} without quotes for milliseconds, or with a unit, such as PT${seconds}S.`;
  }
  const moved = /^PT((?:[0-9.,]+[DW])+)((?:[0-9.,]+[HMS])*)$/.exec(upper);
  if (moved !== null) {
    const [, days = "", time = ""] = moved;
    const what = days.endsWith("W") ? "weeks" : "days";
    return `Did you mean P${days}${time === "" ? "" : `T${time}`}? ${what === "days" ? "Days" : "Weeks"} stand before the T.`;
  }
  const noT = /^P((?:[0-9.,]+[DW])*)((?:[0-9.,]+[HMS])+)$/.exec(upper);
  if (noT !== null) {
    return `Did you mean P${noT[1] ?? ""}T${noT[2] ?? ""}? Hours, minutes and seconds stand after the T.`;
  }
  if (SIGNED.test(upper)) return "It has a sign: write it without one, above zero, such as PT6H.";
  if (upper.endsWith("T") && isIso(upper.slice(0, -1))) return `It ends with T: write ${upper.slice(0, -1)}.`;
  if (/[.,][A-Z]/.test(upper) && isIso(upper.replaceAll(/([.,])(?=[A-Z])/g, "$10")))
    return "A digit is missing behind the point, as in PT1.5S.";
  for (const repaired of [upper, `P${upper}`, `P${upper.replace(/^([0-9.,]+[HMS])/, "T$1")}`]) {
    if (isIso(repaired) && repaired !== text) return `Did you mean ${repaired}?`;
  }
  return otherwise;
}

function isIso(text: string): boolean {
  return isoDuration(text) !== undefined;
}
