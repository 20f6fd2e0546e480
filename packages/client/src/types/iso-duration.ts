/** An ISO 8601 duration: some of its numbers as they are written, and its length. */
export interface IsoDuration {
  readonly years: string | undefined;
  readonly months: string | undefined;
  readonly weeks: string | undefined;
  /** The length, not rounded. Undefined if the duration counts years or months, because their length is not fixed. */
  readonly ms: number | undefined;
}

const NUMBER = "[0-9]+(?:[.,][0-9]+)?";
const ISO = new RegExp(
  `^P(?=.)(?:(${NUMBER})Y)?(?:(${NUMBER})M)?(?:(${NUMBER})W)?(?:(${NUMBER})D)?(T(?=.)(?:(${NUMBER})H)?(?:(${NUMBER})M)?(?:(${NUMBER})S)?)?$`,
);

/**
 * Reads an ISO 8601 duration, in upper or lower case, with points or commas; undefined if the text is none. Nodes
 * accept the durations of policies by this function, and directors count by it, so that they never differ. What it
 * accepts is part of the index version (docs/internals/log-format.md, "Outcomes and reasons").
 */
export function isoDuration(text: string): IsoDuration | undefined {
  const match = ISO.exec(text.toUpperCase());
  if (match === null) return undefined;
  const [, years, months, weeks, days, , hours, minutes, seconds] = match;
  const isFixed = years === undefined && months === undefined;
  const ms =
    part(weeks, 604_800_000) +
    part(days, 86_400_000) +
    part(hours, 3_600_000) +
    part(minutes, 60_000) +
    part(seconds, 1000);
  return { years, months, weeks, ms: isFixed ? ms : undefined };
}

function part(digits: string | undefined, ms: number): number {
  return digits === undefined ? 0 : Number(digits.replace(",", ".")) * ms;
}
