import { UNKNOWN } from "./amounts.ts";

/** Returns an ISO 8601 time in milliseconds since 1970; undefined if it is none. */
export function instant(iso: unknown): number | undefined {
  const at = typeof iso === "string" ? Date.parse(iso) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

const DAY = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });
const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** Returns a time in the reader's zone: of today without the date. */
export function localTime(at: number | undefined): string {
  if (at === undefined) return UNKNOWN;
  const day = DAY.format(at);
  return day === DAY.format(Date.now()) ? CLOCK.format(at) : `${day} ${CLOCK.format(at)}`;
}
