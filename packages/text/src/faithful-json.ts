import { isUtf8 } from "node:buffer";
import { CairnError } from "@cairn/kv";
import { closingQuote, isDigit, isExponent, jsonParts, numberEnd } from "./json-parts.ts";
import { foreignText } from "./foreign-text.ts";
import { REQUESTS_DESCRIBED } from "./times.ts";

const QUOTE = 34;
const COLON = 58;
const ZERO = 48;

/** A double preserves every number without an exponent that has at most this many characters. */
const ALWAYS_EXACT_CHARACTERS = 15;

/**
 * Parses JSON without losing data. `__proto__` is a key like any other. Returns undefined if there is only white space.
 * Throws `TX_INVALID` for bytes that are not UTF-8, text that is not JSON, numbers that would change, and repeated
 * names in an object. `onText` is called with the JSON before the last two checks, and may throw a more specific error.
 */
export function parseJson(bytes: Buffer, onText?: (json: string) => void): unknown {
  if (!isUtf8(bytes)) throw notUtf8(bytes);
  const hasByteOrderMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const text = bytes.toString("utf8", hasByteOrderMark ? 3 : 0);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (text.trim() === "") return undefined;
    throw notStorable(`The body is not valid JSON: ${(error as Error).message}.`);
  }
  onText?.(text);
  refuseUnfaithful(text, value);
  return value;
}

function notUtf8(bytes: Buffer): CairnError {
  const { what, hint } = foreignText(bytes) ?? {};
  return notStorable(`The body is not valid UTF-8${what === undefined ? "" : `: ${what}`}.`, hint);
}

/**
 * Throws `TX_INVALID` if parsing `text` lost information: a number differs, or JSON.parse dropped all but the last of
 * several members of the same name. The fast pass is nearly always conclusive.
 */
function refuseUnfaithful(text: string, value: unknown): void {
  const { members, isNumberInDoubt } = scan(text);
  if (!isNumberInDoubt && members === memberCount(value, members)) return;
  const problem = firstLoss(text);
  if (problem !== undefined) throw problem;
}

/** Counts the members of all objects in `text`, and returns whether a number may not be preserved. */
function scan(text: string): { members: number; isNumberInDoubt: boolean } {
  let members = 0;
  let isNumberInDoubt = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = closingQuote(text, at);
    else if (code === COLON) members += 1;
    else if (isDigit(code)) {
      const end = numberEnd(text, at);
      isNumberInDoubt ||= end - at > ALWAYS_EXACT_CHARACTERS || hasExponent(text, at, end);
      at = end - 1;
    }
  }
  return { members, isNumberInDoubt };
}

/** Returns the number of members of all objects in `value`, or 0 if `expected` is 0. */
function memberCount(value: unknown, expected: number): number {
  if (expected === 0 || typeof value !== "object" || value === null) return 0;
  const rest: unknown[] = [value];
  let members = 0;
  while (rest.length > 0) {
    const next = rest.pop();
    if (Array.isArray(next)) {
      for (const inner of next as unknown[])
        if (typeof inner === "object" && inner !== null) rest.push(inner);
    } else {
      const object = next as Readonly<Record<string, unknown>>;
      for (const name of Object.keys(object)) {
        members += 1;
        const inner = object[name];
        if (typeof inner === "object" && inner !== null) rest.push(inner);
      }
    }
  }
  return members;
}

/** Returns the error for the first part of the valid JSON `text` that parsing does not preserve. */
function firstLoss(text: string): CairnError | undefined {
  for (const { kind, isRepeated, from, to, path } of jsonParts(text)) {
    if (isRepeated) return repeatedName(place(path()));
    const number = text.slice(from, to);
    if (kind === "number" && !isPreserved(number)) return changedNumber(number, place(path()));
  }
  return undefined;
}

function hasExponent(text: string, from: number, end: number): boolean {
  for (let at = from; at < end; at += 1) if (isExponent(text.charCodeAt(at))) return true;
  return false;
}

/** Returns whether a number is unchanged by parsing and writing. */
function isPreserved(number: string): boolean {
  const value = Number(number);
  const written = String(value);
  // Most numbers are written in this form, because programs write them that way.
  if (written === number) return true;
  return Number.isFinite(value) && canonical(number) === canonical(written);
}

/** The same for all spellings of a number: digits without leading and trailing zeros, and a power of ten. */
function canonical(number: string): string {
  const [, sign = "", whole = "", fraction = "", power = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(number) ?? [];
  const digits = whole + fraction;
  let first = 0;
  let end = digits.length;
  while (first < end && digits.charCodeAt(first) === ZERO) first += 1;
  while (end > first && digits.charCodeAt(end - 1) === ZERO) end -= 1;
  if (first === end) return "0";
  return `${sign}${digits.slice(first, end)}e${Number(power) + digits.length - end - fraction.length}`;
}

const SHOWN_CHARACTERS = 60;

function shown(text: string): string {
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

function place(names: readonly (string | number)[]): string {
  const path = names
    .map((at) => {
      if (typeof at === "number") return `[${at}]`;
      return /^[\w-]+$/.test(at) ? `.${at}` : `[${JSON.stringify(at)}]`;
    })
    .join("");
  return path === "" ? "" : ` at ${shown(path.replace(/^\./, ""))}`;
}

function changedNumber(number: string, where: string): CairnError {
  const value = Number(number);
  const isFinite = Number.isFinite(value);
  const becomes = isFinite ? `would become ${value}` : "is larger than any number that can be stored";
  return notStorable(
    `The number ${shown(number)}${where} ${becomes}.`,
    `Write it as a string: numbers are stored as 64-bit floating-point values, which ${isFinite ? "have fewer digits" : "end at 1.8e308"}. Nothing was stored.`,
  );
}

function repeatedName(where: string): CairnError {
  return notStorable(
    `The body contains an object with a repeated name${where}.`,
    "Send only one of the two values, because the other one would be lost. Nothing was stored.",
  );
}

function notStorable(message: string, hint = REQUESTS_DESCRIBED): CairnError {
  return new CairnError("TX_INVALID", message, hint);
}
