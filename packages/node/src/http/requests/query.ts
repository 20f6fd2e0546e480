import { DateTime, Duration } from "luxon";
import type { FieldQuery } from "../../index/read/field-query.ts";
import type { ReadOptions } from "../../api/node-api.ts";
import type { AsOf } from "../../index/read/documents.ts";
import { parseDuration } from "../../text/duration.ts";
import { badRequest } from "../answers/error-response.ts";
import { DURATION_PATTERN } from "./text-patterns.ts";

/** Turns a parameter's text into its value, or says in an error what was expected. */
export type Parameter<T> = (text: string, name: string) => T;

/** The parameters that a route takes, by name. */
export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** What {@link parseQuery} answers: those that were given. */
export type Query<P extends Parameters> = { readonly [K in keyof P]?: ReturnType<P[K]> };

/**
 * The query of `url`, checked against `parameters`. Unknown ones, and repeated ones but for {@link several}, are refused: a filter that was misspelt
 * and ignored would answer more than was asked for.
 */
export function parseQuery<P extends Parameters>(url: string, parameters: P): Query<P> {
  const start = url.indexOf("?");
  if (start < 0) return {};
  const query: Record<string, unknown> = {};
  for (const pair of url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decode(equals < 0 ? pair : pair.slice(0, equals));
    const parameter = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (parameter === undefined) {
      throw badRequest(
        `There is no parameter ${JSON.stringify(name)} here.`,
        `Known are ${Object.keys(parameters).join(", ") || "none"}.`,
      );
    }
    const before = Object.hasOwn(query, name) ? query[name] : undefined;
    if (before !== undefined && !repeatable.has(parameter)) {
      throw badRequest(`The parameter ${name} is given twice.`);
    }
    // A flag's name alone sets it.
    const isBare = equals < 0 && parameter === flag;
    const value = isBare ? true : parameter(equals < 0 ? "" : decode(pair.slice(equals + 1)), name);
    query[name] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value;
  }
  return query as Query<P>;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll("+", " "));
  } catch {
    throw badRequest(
      `The query has a malformed percent escape in ${JSON.stringify(part)}.`,
      "Write a literal % as %25.",
    );
  }
}

const repeatable = new WeakSet<Parameter<unknown>>();

/** A parameter that may be given several times: all of its values, in their order. */
export function several<T>(one: Parameter<T>): Parameter<readonly T[]> {
  const parameter: Parameter<readonly T[]> = (value, name) => [one(value, name)];
  repeatable.add(parameter);
  return parameter;
}

/** Any text. */
export function text(value: string): string {
  return value;
}

/** `true` or `false`. */
export function flag(value: string, name: string): boolean {
  if (value === "true") return true;
  if (value === "false") return false;
  throw badRequest(`${name} is true or false, not ${JSON.stringify(value)}.`);
}

/** A transaction's id. */
export function txId(value: string, name: string): number {
  const id = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(id)) {
    throw badRequest(`${name} is a whole number, not ${JSON.stringify(value)}.`);
  }
  return id;
}

/** The number of a line, from 1. */
export function lineNumber(value: string, name: string): number {
  const number = txId(value, name);
  if (number === 0) throw badRequest(`${name} counts from 1.`);
  return number;
}

/** How many: 1 to 1,000. */
export function limit(value: string, name: string): number {
  const count = /^\d{1,9}$/.test(value) ? Number(value) : 0;
  if (count < 1 || count > 1000) {
    throw badRequest(`${name} is a whole number from 1 to 1000, not ${JSON.stringify(value)}.`);
  }
  return count;
}

/** A field and its value, as `field:value`. */
export function where(value: string, name: string): FieldQuery {
  const colon = value.indexOf(":");
  if (colon > 0) return { field: value.slice(0, colon), value: value.slice(colon + 1) };
  throw badRequest(`${name} is field:value, such as state:running, not ${JSON.stringify(value)}.`);
}

const LONGEST_WAIT_MS = 3_600_000;
const DURATION = new RegExp(DURATION_PATTERN);

/** A duration as ISO-8601 text or in milliseconds; answers milliseconds. More than an hour is an hour: nothing waits longer. */
export function duration(value: string, name: string): number {
  return Math.min(wholeDuration(value, name), LONGEST_WAIT_MS);
}

/** The same, of any length. */
export function wholeDuration(value: string, name: string): number {
  if (!DURATION.test(value)) {
    const parsed = parseDuration(value, { bare: true });
    throw badRequest(
      `${name} is a duration, such as PT5S, not ${JSON.stringify(value)}.`,
      "hint" in parsed ? parsed.hint : undefined,
    );
  }
  const parsed = value.startsWith("P") ? Duration.fromISO(value).toMillis() : Number(value);
  return Math.ceil(parsed);
}

/** An instant in ISO-8601 (UTC when it names no zone), as nodes write it. */
export function isoTime(value: string, name: string): string {
  const parsed = utcTime(value);
  if (parsed.isValid && value.includes("T")) return parsed.toISO();
  throw badRequest(
    `${name} is an ISO-8601 time, not ${JSON.stringify(value)}.`,
    "For example 2026-11-20T06:12:26.123Z.",
  );
}

/** An unescaped + of a zone's offset arrives as a space. */
function utcTime(value: string): ReturnType<typeof DateTime.fromISO> {
  return DateTime.fromISO(value.replace(" ", "+"), { zone: "utc" });
}

/** A transaction's id or an ISO-8601 time (UTC when it names no zone). */
export function asOf(value: string, name: string): AsOf {
  if (/^\d+$/.test(value)) return { txId: txId(value, name) };
  const time = utcTime(value);
  if (!time.isValid) {
    throw badRequest(
      `${name} is a transaction's id or an ISO-8601 time, not ${JSON.stringify(value)}.`,
      "For example 1200 or 2026-11-20T06:12:26.123Z.",
    );
  }
  return { time: time.toISO() };
}

/** The parameters that every read takes. */
export const READ_PARAMETERS = { "min-tx": txId, stale: flag, linearizable: flag, timeout: duration };

/** Those of them that were given, as {@link ReadOptions}. */
export function readOptions(query: Query<typeof READ_PARAMETERS>): ReadOptions {
  return {
    ...(query["min-tx"] === undefined ? {} : { minTx: query["min-tx"] }),
    ...(query.timeout === undefined ? {} : { timeoutMs: query.timeout }),
    ...(query.stale === undefined ? {} : { stale: query.stale }),
    ...(query.linearizable === undefined ? {} : { linearizable: query.linearizable }),
  };
}
