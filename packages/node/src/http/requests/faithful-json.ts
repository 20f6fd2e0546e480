import { badBody, type RequestError } from "../answers/error-response.ts";

/** Codes of the characters that the text of JSON is made of. */
const QUOTE = 34;
const BACKSLASH = 92;
const COLON = 58;
const COMMA = 44;
const MINUS = 45;
const PLUS = 43;
const POINT = 46;
const ZERO = 48;
const NINE = 57;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const LOWER_E = 101;
const UPPER_E = 69;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;

/** A double keeps 15 digits, whatever they are. */
const ALWAYS_KEPT_CHARACTERS = 15;

/**
 * Refuses with `TX_INVALID` what `value`, parsed from the JSON `text`, does not hold: a number that is not exactly the one written, and all
 * but the last of the members of one name, which JSON.parse drops without a word. `text` is looked at once and quickly; only where
 * that leaves a doubt is it looked at closely.
 */
export function refuseUnfaithful(text: string, value: unknown): void {
  const { members, isNumberInDoubt } = glance(text);
  if (!isNumberInDoubt && members === memberCount(value, members)) return;
  const problem = firstLoss(text);
  if (problem !== undefined) throw problem;
}

/** How many members the maps in `text` have, and whether it has a number that may not be kept. */
function glance(text: string): { members: number; isNumberInDoubt: boolean } {
  let members = 0;
  let isNumberInDoubt = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = closingQuote(text, at);
    else if (code === COLON) members += 1;
    else if (isDigit(code)) {
      const end = numberEnd(text, at);
      isNumberInDoubt ||= end - at > ALWAYS_KEPT_CHARACTERS || hasExponent(text, at, end);
      at = end - 1;
    }
  }
  return { members, isNumberInDoubt };
}

/** How many members the maps in `value` have. Where none is `expected` there is nothing to count. */
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
      const map = next as Readonly<Record<string, unknown>>;
      for (const name of Object.keys(map)) {
        members += 1;
        const inner = map[name];
        if (typeof inner === "object" && inner !== null) rest.push(inner);
      }
    }
  }
  return members;
}

/** A map or list that is open: the names in it so far, and where in it the reader is. */
interface Level {
  readonly names: Set<string> | undefined;
  at: string | number;
}

/** The first thing in `text`, which is valid JSON, that its parsed value does not hold. */
function firstLoss(text: string): RequestError | undefined {
  const levels: Level[] = [];
  let lastText = "";
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const level = levels.at(-1);
    if (code === QUOTE) {
      const end = closingQuote(text, at);
      lastText = text.slice(at, end + 1);
      at = end;
    } else if (code === OPEN_BRACE) levels.push({ names: new Set(), at: "" });
    else if (code === OPEN_BRACKET) levels.push({ names: undefined, at: 0 });
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) levels.pop();
    else if (code === COMMA && typeof level?.at === "number") level.at += 1;
    else if (code === COLON && level?.names !== undefined) {
      const name = JSON.parse(lastText) as string;
      level.at = name;
      if (level.names.has(name)) return repeatedName(place(levels));
      level.names.add(name);
    } else if (code === MINUS || isDigit(code)) {
      const end = numberEnd(text, at + 1);
      const number = text.slice(at, end);
      if (!isKept(number)) return changedNumber(number, place(levels));
      at = end - 1;
    }
  }
  return undefined;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}

/** Where the text that begins at `from` ends: at its last quote. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); ; at = text.indexOf('"', at + 1)) {
    let before = at - 1;
    while (text.charCodeAt(before) === BACKSLASH) before -= 1;
    // An even number of backslashes are characters of the text.
    if ((at - before) % 2 === 1) return at;
  }
}

/** Behind the last character of the number that `at` lies in. */
function numberEnd(text: string, at: number): number {
  let end = at;
  for (;;) {
    const code = text.charCodeAt(end);
    if (!isDigit(code) && code !== POINT && code !== MINUS && code !== PLUS && !isExponent(code)) return end;
    end += 1;
  }
}

function isExponent(code: number): boolean {
  return code === LOWER_E || code === UPPER_E;
}

function hasExponent(text: string, from: number, end: number): boolean {
  for (let at = from; at < end; at += 1) if (isExponent(text.charCodeAt(at))) return true;
  return false;
}

/** Whether what a document answers for a number is exactly the number. */
function isKept(number: string): boolean {
  const value = Number(number);
  const written = String(value);
  // As programs write their own numbers.
  if (written === number) return true;
  return Number.isFinite(value) && canonical(number) === canonical(written);
}

/** One form for each number: its digits without zeros at either end, and the power of ten that they are multiplied with. */
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

function place(levels: readonly Level[]): string {
  const path = levels
    .map(({ at }) => {
      if (typeof at === "number") return `[${at}]`;
      return /^[\w-]+$/.test(at) ? `.${at}` : `[${JSON.stringify(at)}]`;
    })
    .join("");
  return path === "" ? "" : ` at ${shown(path.replace(/^\./, ""))}`;
}

function changedNumber(number: string, where: string): RequestError {
  const value = Number(number);
  const becomes = Number.isFinite(value) ? `would become ${value}` : "is larger than any that is kept";
  return badBody(
    `The number ${shown(number)}${where} ${becomes}.`,
    "Nothing was stored. Numbers are kept as 64-bit floating point; store one with more digits as text.",
  );
}

function repeatedName(where: string): RequestError {
  return badBody(
    `The body has a name twice in one object${where}.`,
    "Nothing was stored. One of the two would be lost: keep one.",
  );
}
