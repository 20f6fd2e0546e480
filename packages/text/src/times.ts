import { CairnError } from "@cairn/kv";
import { DateTime } from "luxon";

/** The hint of errors about requests whose form is wrong. */
export const REQUESTS_DESCRIBED =
  "GET /openapi.json of a node describes every request, with its parameters and its body.";

/** Formats milliseconds since 1970 as an ISO 8601 time, as in all responses. */
export function isoTime(time: number): string {
  return new Date(time).toISOString();
}

const NS_PER_MS = 1_000_000n;

/** Converts a transaction's time (ms) to nanoseconds, the unit of event times. */
export function nanoseconds(time: number): bigint {
  return BigInt(time) * NS_PER_MS;
}

/** Converts the time of an event (ns) to milliseconds, rounded down. */
export function milliseconds(time: bigint): number {
  return Number(time / NS_PER_MS);
}

/** Parses a transaction id. Throws `REQUEST_INVALID` with the `name` of what has this value. */
export function parseTxId(text: string, name: string): number {
  const id = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(id)) return id;
  throw badValue(`${name} must be a whole number, not ${JSON.stringify(text)}.`);
}

/** Parses an ISO 8601 time (in UTC if it names no zone), and returns it in the form in which nodes write times. */
export function parseTime(text: string, name: string): string {
  const time = utcTime(text);
  if (time.isValid && text.includes("T")) return time.toISO();
  throw badValue(
    `${name} must be an ISO 8601 time, not ${JSON.stringify(text)}.`,
    "Write, for example, 2026-11-20T06:12:26.123Z.",
  );
}

/**
 * A date, perhaps with a time of day and an offset below a day. Luxon also reads any offset, weeks, a time without a
 * date (of today), and names of zones.
 */
const TIME =
  /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?$/;

/** Parses an ISO 8601 time. An unescaped + in a zone's offset arrives as a space. */
function utcTime(text: string): ReturnType<typeof DateTime.fromISO> {
  const given = text.replace(" ", "+");
  return DateTime.fromISO(TIME.test(given) ? given : "", { zone: "utc" });
}

/** Parses the point of a read of the past: a transaction id or an ISO 8601 time. Throws `REQUEST_INVALID`. */
export function parseAsOf(text: string, name: string): { txId: number } | { time: string } {
  if (/^\d+$/.test(text)) return { txId: parseTxId(text, name) };
  const time = utcTime(text);
  if (time.isValid) return { time: time.toISO() };
  throw badValue(
    `${name} must be a transaction id or an ISO 8601 time, not ${JSON.stringify(text)}.`,
    "Write, for example, 1200 or 2026-11-20T06:12:26.123Z.",
  );
}

export function badValue(message: string, hint = REQUESTS_DESCRIBED): CairnError {
  return new CairnError("REQUEST_INVALID", message, hint);
}
