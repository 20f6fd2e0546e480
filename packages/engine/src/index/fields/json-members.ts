import { asBuffer } from "../rows/row-keys.ts";

/**
 * Finds members of a JSON object without parsing the rest, which would cost four times as much. Anything other than an
 * object, and any object with an escape in a name, is left to JSON.parse.
 */

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const SPACE = 0x20;

/** Where a member's value is, up to but not including `end`. `begin` is -1 if there is no such member. */
export interface MemberPlace {
  begin: number;
  end: number;
}

/**
 * Finds the members with these `names` (UTF-8 without quotes) in the object at `from` in `json`, which must be valid,
 * and sets a place for each; of equal names, the last counts, as in JSON.parse. Returns false if JSON.parse must read
 * it instead.
 */
export function findMembers(
  json: Uint8Array,
  from: number,
  names: readonly Uint8Array[],
  places: readonly MemberPlace[],
): boolean {
  for (const place of places) place.begin = -1;
  let at = skipSpace(json, from);
  if (json[at] !== OPEN_OBJECT) return false;
  at = skipSpace(json, at + 1);
  if (json[at] === CLOSE_OBJECT) return true;
  for (;;) {
    if (json[at] !== QUOTE) return false;
    const nameEnd = endOfPlainText(json, at + 1);
    if (nameEnd < 0) return false;
    const index = indexOfName(json, at + 1, nameEnd, names);
    at = skipSpace(json, nameEnd + 1);
    if (json[at] !== COLON) return false;
    const begin = skipSpace(json, at + 1);
    at = endOfValue(json, begin);
    if (at < 0) return false;
    const place = index < 0 ? undefined : places[index];
    if (place !== undefined) {
      place.begin = begin;
      place.end = at;
    }
    at = skipSpace(json, at);
    if (json[at] === CLOSE_OBJECT) return true;
    if (json[at] !== COMMA) return false;
    at = skipSpace(json, at + 1);
  }
}

/** `at` is where the contents of the string begin. Returns -1 if it contains an escape or does not end. */
function endOfPlainText(json: Uint8Array, at: number): number {
  for (let end = at; end < json.length; end++) {
    const byte = json[end];
    if (byte === QUOTE) return end;
    if (byte === BACKSLASH) return -1;
  }
  return -1;
}

function indexOfName(json: Uint8Array, begin: number, end: number, names: readonly Uint8Array[]): number {
  const length = end - begin;
  search: for (let index = 0; index < names.length; index++) {
    const name = names[index];
    if (name?.length !== length) continue;
    for (let at = 0; at < length; at++) if (name[at] !== json[begin + at]) continue search;
    return index;
  }
  return -1;
}

/** Returns the offset after the value that begins at `at`; -1 if the value does not end. */
function endOfValue(json: Uint8Array, at: number): number {
  const first = json[at];
  if (first === QUOTE) return endOfText(json, at);
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return endOfNested(json, at);
  for (let end = at; end < json.length; end++) {
    const byte = json[end] ?? 0;
    if (byte === COMMA || byte === CLOSE_OBJECT || byte <= SPACE) return end;
  }
  return -1;
}

/** So many bytes are searched in JavaScript first, because a native call alone costs as much as searching them. */
const BYTES_BEFORE_NATIVE_SEARCH = 32;

/** Returns the offset after the string whose opening quote is at `at`. */
function endOfText(json: Uint8Array, at: number): number {
  let end = at + 1;
  for (const short = Math.min(json.length, end + BYTES_BEFORE_NATIVE_SEARCH); end < short; end++) {
    const byte = json[end];
    if (byte === QUOTE) return end + 1;
    if (byte === BACKSLASH) end += 1;
  }
  const bytes = asBuffer(json);
  for (;;) {
    const quote = bytes.indexOf(QUOTE, end);
    if (quote < 0) return -1;
    if (!isEscaped(json, quote)) return quote + 1;
    end = quote + 1;
  }
}

/** Returns whether a quote in a string is escaped. Backslashes escape each other in pairs. */
function isEscaped(json: Uint8Array, quote: number): boolean {
  let begin = quote;
  while (json[begin - 1] === BACKSLASH) begin -= 1;
  return (quote - begin) % 2 === 1;
}

function endOfNested(json: Uint8Array, at: number): number {
  let depth = 0;
  for (let end = at; end < json.length; end++) {
    const byte = json[end];
    if (byte === QUOTE) {
      end = endOfText(json, end) - 1;
      if (end < 0) return -1;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1;
      if (depth === 0) return end + 1;
    }
  }
  return -1;
}

function skipSpace(json: Uint8Array, at: number): number {
  let end = at;
  while ((json[end] ?? QUOTE) <= SPACE) end += 1;
  return end;
}
