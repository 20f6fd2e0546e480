import { abbreviate } from "./config-tree.ts";
import { EdnFault, type EdnForm, ONLY_CALL, identityOf } from "./edn-form.ts";
import { MAX_DEPTH } from "./source-text.ts";
import { ownMember } from "../../text/own-member.ts";

/**
 * An EDN reader that accepts and rejects the same input as Clojure's own (clojure.lang.EdnReader of Clojure 1.12) and
 * reports the positions of faults; `pnpm test:outside edn` compares the two. No library does this. The libraries on npm
 * that report positions are grammars for editors, which are deliberately lenient and misread strings that end in a
 * backslash and forms that are discarded with #_.
 */

/** The characters for which Java's Character.isWhitespace returns true, and the comma. */
const BLANK = new Set(
  "\t\n\v\f\r\u001c\u001d\u001e\u001f ,\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u2028\u2029\u205f\u3000",
);
/** The characters that begin another form. Of these, only # may occur inside a name. */
const MACRO = /["#;^()[\]{}\\]/;
const CLOSING: Readonly<Record<string, string>> = { "{": "}", "[": "]", "(": ")" };
/** The characters of Clojure code that cannot occur in names in data. */
const CODE = /[@`~^]/;
const DIGIT = /\p{Nd}/u;
const LETTER = /\p{L}/u;

const WHOLE = /^[+-]?(?:0|[1-9][0-9]*|0[xX][0-9A-Fa-f]+|0[0-7]+|[1-9][0-9]?[rR][0-9A-Za-z]+)N?$/;
const FRACTION = /^[+-]?[0-9]+(?:(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?|\/[0-9]+)$/;
/** EdnReader's symbolPat: an optional namespace, and a name that does not begin with a digit. */
const NAME = /^:?([^0-9/][^\n\r\u0085\u2028\u2029]*\/)?(\/|[^0-9/][^/]*)$/;

const ESCAPES: Readonly<Record<string, string>> = {
  t: "\t",
  r: "\r",
  n: "\n",
  b: "\b",
  f: "\f",
  "\\": "\\",
  '"': '"',
};
const CHARACTERS: Readonly<Record<string, string>> = {
  newline: "\n",
  space: " ",
  tab: "\t",
  backspace: "\b",
  formfeed: "\f",
  return: "\r",
};

/** Reads the forms of EDN one by one, in linear time. Throws {@link EdnFault}. */
export class EdnReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  next(depth = 0): EdnForm | undefined {
    this.#skip(depth);
    if (this.#at >= this.#text.length) return undefined;
    if (")]}".includes(this.#char())) throw unexpected(this.#char(), this.#at, "nothing is open here");
    return this.#form(depth);
  }

  #char(ahead = 0): string {
    return this.#text.charAt(this.#at + ahead);
  }

  /** Skips blanks, comments, and forms discarded with #_. */
  #skip(depth: number): void {
    for (; this.#at < this.#text.length; this.#at += 1) {
      const char = this.#char();
      if (char === ";") this.#skipComment();
      else if (char === "#" && this.#char(1) === "_") this.#discard(depth);
      else if (!BLANK.has(char)) return;
    }
  }

  /** Skips to the last character of the line. The line break counts as a blank. */
  #skipComment(): void {
    while (this.#at + 1 < this.#text.length && !"\n\r".includes(this.#char(1))) this.#at += 1;
  }

  #discard(depth: number): void {
    const from = this.#at;
    this.#at += 2;
    if (depth > MAX_DEPTH) throw tooDeep(from);
    this.#required(from, depth + 1, "There is nothing after #_ to discard.");
    this.#at -= 1;
  }

  /** Returns the next form, which the form at `from` requires. */
  #required(from: number, depth: number, fault: string): EdnForm {
    this.#skip(depth);
    if (this.#at >= this.#text.length || ")]}".includes(this.#char())) throw new EdnFault(from, fault);
    return this.#form(depth);
  }

  #form(depth: number): EdnForm {
    const from = this.#at;
    if (depth > MAX_DEPTH) throw tooDeep(from);
    const char = this.#char();
    switch (char) {
      case "{":
        return this.#map(from, undefined, depth);
      case "[":
        return { kind: "vector", ...this.#items(from, depth) };
      case "(":
        return { kind: "list", ...this.#items(from, depth) };
      case '"':
        return this.#string(from);
      case "\\":
        return this.#character(from);
      case "#":
        return this.#dispatch(from, depth);
    }
    const isSigned = (char === "+" || char === "-") && DIGIT.test(this.#char(1));
    return isSigned || DIGIT.test(char) ? this.#number(from) : this.#name(from);
  }

  /** Reads the items of the bracket at the current position. */
  #items(from: number, depth: number): { items: EdnForm[]; from: number; to: number } {
    const closing = CLOSING[this.#char()] ?? "";
    const opened = this.#at;
    this.#at += 1;
    const items: EdnForm[] = [];
    for (;;) {
      this.#skip(depth + 1);
      if (this.#at >= this.#text.length)
        throw new EdnFault(opened, `This is never closed; a ${closing} is missing.`);
      const char = this.#char();
      if (char === closing) break;
      if (")]}".includes(char)) throw unexpected(char, this.#at, `${closing} was expected`);
      items.push(this.#form(depth + 1));
    }
    this.#at += 1;
    return { items, from, to: this.#at };
  }

  #map(from: number, namespace: string | undefined, depth: number): EdnForm {
    const map = { kind: "map" as const, namespace, ...this.#items(from, depth) };
    const keys = map.items.filter((_, index) => index % 2 === 0);
    checkDistinct("key", keys, namespace);
    const last = keys.at(-1);
    if (last !== undefined && map.items.length % 2 === 1) {
      // In EDN, the quote of '[a b] is a symbol, so a map that contains such a quote seems to lack a value.
      const quote = map.items.find((item) => item.kind === "symbol" && item.text === "'");
      if (quote !== undefined) throw bareQuote(quote.from);
      throw new EdnFault(last.from, `The key ${this.#shown(last)} has no value.`);
    }
    return map;
  }

  #string(from: number): EdnForm {
    let text = "";
    let plain = from + 1;
    for (let at = plain; ; at += 1) {
      const char = this.#text.charAt(at);
      if (char === "") throw new EdnFault(from, "This string has no closing quote.");
      if (char !== '"' && char !== "\\") continue;
      text += this.#text.slice(plain, at);
      if (char === '"') {
        this.#at = at + 1;
        return { kind: "string", text, from, to: this.#at };
      }
      const escaped = this.#escape(at);
      text += escaped.char;
      plain = escaped.end;
      at = plain - 1;
    }
  }

  #escape(at: number): { char: string; end: number } {
    const letter = this.#text.charAt(at + 1);
    const plain = ESCAPES[letter];
    if (plain !== undefined) return { char: plain, end: at + 2 };
    const unicode = /^[0-9a-fA-F]{4}/.exec(this.#text.slice(at + 2, at + 6))?.[0];
    if (letter === "u" && unicode !== undefined)
      return { char: String.fromCharCode(Number.parseInt(unicode, 16)), end: at + 6 };
    if (letter === "u") throw new EdnFault(at, "\\u must be followed by four digits, each 0 to 9 or a to f.");
    const octal = /^[0-7]{1,3}/.exec(this.#text.slice(at + 1, at + 4))?.[0] ?? "";
    const code = Number.parseInt(octal, 8);
    const next = this.#text.charAt(at + 1 + octal.length);
    const isEnded = octal.length === 3 || next === "" || BLANK.has(next) || MACRO.test(next);
    if (octal !== "" && isEnded && code <= 0o377)
      return { char: String.fromCharCode(code), end: at + 1 + octal.length };
    // Java also accepts digits from other scripts, so the message shows those as well.
    const shown = /^\p{Nd}{1,3}/u.exec(this.#text.slice(at + 1, at + 7))?.[0] ?? letter;
    throw new EdnFault(
      at,
      `EDN has no escape \\${shown}; it has \\t \\r \\n \\b \\f \\\\ \\", \\u with four digits, and octal numbers up to \\377.`,
      'In a string, write a backslash twice: "C:\\\\data".',
    );
  }

  #character(from: number): EdnForm {
    if (this.#at + 1 >= this.#text.length) throw new EdnFault(from, "A character is missing after \\.");
    this.#at += 2;
    const raw = this.#text.slice(from + 1, this.#at) + this.#token();
    const text = raw.length === 1 ? raw : (ownMember(CHARACTERS, raw) ?? numberedCharacter(raw));
    if (text === undefined) throw new EdnFault(from, `\\${raw} is not a character.`);
    return { kind: "character", text, from, to: this.#at };
  }

  #dispatch(from: number, depth: number): EdnForm {
    const next = this.#char(1);
    if (next === "{") {
      this.#at += 1;
      const set = this.#items(from, depth);
      checkDistinct("item", set.items);
      return { kind: "set", ...set };
    }
    if (next === ":") return this.#namespacedMap(from, depth);
    if (next === "#") return this.#symbolic(from, depth);
    if (!LETTER.test(next)) {
      throw new EdnFault(from, `${this.#word(from)} is Clojure code, not data.`, ONLY_CALL);
    }
    this.#at += 1;
    throw new EdnFault(
      from,
      `The tag #${abbreviate(this.#token())} has no meaning in a configuration.`,
      "Write the value as a string or a number.",
    );
  }

  #namespacedMap(from: number, depth: number): EdnForm {
    this.#at += 2;
    const name = this.#required(from, depth + 1, "A namespace must be followed by a map.");
    if (name.kind !== "symbol" || (name.text.includes("/") && name.text !== "/"))
      throw new EdnFault(name.from, `${this.#shown(name)} is not a namespace.`);
    while (BLANK.has(this.#char())) this.#at += 1;
    if (this.#char() !== "{") throw new EdnFault(from, "A namespace must be followed by a map.");
    return this.#map(from, name.text, depth);
  }

  #symbolic(from: number, depth: number): EdnForm {
    this.#at += 2;
    const name = this.#required(from, depth + 1, "## is not allowed here.");
    if (name.kind !== "symbol" || !["Inf", "-Inf", "NaN"].includes(name.text))
      throw new EdnFault(from, `##${this.#shown(name)} is not a number.`);
    return { kind: "number", raw: `##${name.text}`, from, to: this.#at };
  }

  #number(from: number): EdnForm {
    while (this.#at < this.#text.length && !BLANK.has(this.#char()) && !MACRO.test(this.#char()))
      this.#at += 1;
    const raw = this.#text.slice(from, this.#at);
    const radix = Number(/^[+-]?([0-9]+)[rR]/.exec(raw)?.[1] ?? 10);
    const isNumber = FRACTION.test(raw) ? !/^[+-]?[0-9]+\/0+$/.test(raw) : WHOLE.test(raw);
    // 08 is a malformed octal number, not a fraction.
    const isOctal = /^[+-]?0[0-9]+N?$/.test(raw);
    if (!isNumber || (isOctal && !WHOLE.test(raw)) || !hasDigitsOf(radix, raw)) {
      throw new EdnFault(from, `${abbreviate(raw)} is not a number.`, "Write strings in double quotes.");
    }
    return { kind: "number", raw, from, to: this.#at };
  }

  #name(from: number): EdnForm {
    const first = this.#char();
    if (CODE.test(first)) {
      const hint = first === "`" ? NO_QUOTE : ONLY_CALL;
      throw new EdnFault(from, `${this.#word(from)} is Clojure code, not data.`, hint);
    }
    const raw = this.#token();
    const to = this.#at;
    if (raw === "nil") return { kind: "nil", from, to };
    if (raw === "true" || raw === "false") return { kind: "boolean", value: raw === "true", from, to };
    const isKeyword = raw.startsWith(":");
    const [, namespace, name = ""] = NAME.exec(raw) ?? [];
    const isName =
      name !== "" &&
      namespace?.endsWith(":/") !== true &&
      !name.endsWith(":") &&
      !raw.slice(1).includes("::");
    if (raw.startsWith("::")) {
      const message = `${abbreviate(raw)} depends on a namespace of Clojure code; write the whole name with one colon.`;
      throw new EdnFault(from, message);
    }
    if (!isName) throw new EdnFault(from, `${abbreviate(raw)} is not a ${isKeyword ? "keyword" : "symbol"}.`);
    return { kind: isKeyword ? "keyword" : "symbol", text: isKeyword ? raw.slice(1) : raw, from, to };
  }

  /** Reads the characters of a name. */
  #token(): string {
    const from = this.#at;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const char = this.#char();
      if (BLANK.has(char) || (MACRO.test(char) && char !== "#")) break;
      if (CODE.test(char)) throw new EdnFault(this.#at, `${JSON.stringify(char)} is not allowed here.`);
    }
    return this.#text.slice(from, this.#at);
  }

  /** Returns the beginning of the form, for messages. */
  #word(from: number): string {
    const word = /^[^\s,;]{0,20}?(?=[\s,;)\]}]|$)/.exec(this.#text.slice(from, from + 20))?.[0];
    return JSON.stringify(word ?? this.#text.slice(from, from + 20));
  }

  #shown({ from, to }: EdnForm): string {
    return abbreviate(this.#text.slice(from, to));
  }
}

/** Returns the fault for a quote before something other than a symbol, as in Clojure code. */
export function bareQuote(from: number): EdnFault {
  return new EdnFault(from, "A quote must precede a symbol.", "Remove the quote.");
}

const NO_QUOTE = "Remove the backquote.";

function checkDistinct(what: string, forms: readonly EdnForm[], namespace?: string): void {
  const seen = new Set<string>();
  for (const form of forms) {
    const identity = identityOf(form, namespace);
    if (seen.has(identity))
      throw new EdnFault(
        form.from,
        `The ${what} ${abbreviate(identity)} is repeated.`,
        "Keep one of the two.",
      );
    seen.add(identity);
  }
}

/** Returns a character by its number: `u` and four hexadecimal digits that are not a surrogate, or `o` and up to three octal digits. */
function numberedCharacter(raw: string): string | undefined {
  const hex = /^u([0-9a-fA-F]{4})$/.exec(raw)?.[1];
  const octal = /^o([0-7]{1,3})$/.exec(raw)?.[1];
  const code = hex === undefined ? Number.parseInt(octal ?? "", 8) : Number.parseInt(hex, 16);
  const isRight = hex === undefined ? code <= 0o377 : code < 0xd800 || code > 0xdfff;
  return isRight ? String.fromCharCode(code) : undefined;
}

function hasDigitsOf(radix: number, raw: string): boolean {
  if (!/[rR]/.test(raw) || /^[+-]?0[xX]/.test(raw)) return true;
  const digits = raw.slice(raw.search(/[rR]/) + 1);
  if (radix < 2 || radix > 36) return false;
  return Array.from(digits).every((digit) => Number.parseInt(digit, 36) < radix);
}

function unexpected(found: string, at: number, expected: string): EdnFault {
  return new EdnFault(at, `Unexpected ${found}: ${expected}.`);
}

function tooDeep(at: number): EdnFault {
  return new EdnFault(at, `This is nested more than ${MAX_DEPTH} deep.`);
}
