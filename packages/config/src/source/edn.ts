import { abbreviate, normalizeName, repeatedKey, type ConfigEntry, type ConfigNode } from "./config-tree.ts";
import type { ProblemList } from "./problems.ts";
import { MAX_DEPTH, type SourceText } from "./source-text.ts";
import { parsedJson } from "@cairn/text";

/**
 * Reads EDN into a tree with positions; undefined after adding a problem. Rejects what Clojure's reader
 * (clojure.lang.EdnReader of Clojure 1.12) rejects (`pnpm test:outside edn` compares the two), and, even after #_,
 * forms without meaning in a configuration. The libraries on npm that report positions are lenient grammars for
 * editors, which misread strings that end in a backslash and forms discarded with #_.
 */
export function readEdn(source: SourceText, problems: ProblemList): ConfigNode | undefined {
  try {
    return new EdnReader(source).read();
  } catch (fault) {
    if (!(fault instanceof EdnFault)) throw fault;
    const isJson = /^\s*[{[]/.test(source.text) && parsedJson(source.text) !== undefined;
    const hint = isJson ? JSON_HINT : fault.hint;
    problems.add(source.originAt(fault.offset), [], fault.message, hint, "CONFIG_SYNTAX");
    return undefined;
  }
}

const JSON_HINT = "Rename the file to .json, or pass its content with -j, because it is JSON.";

/** Reading ends at the first fault, because the text after a wrong bracket has no meaning. */
class EdnFault {
  readonly offset: number;
  readonly message: string;
  readonly hint: string | undefined;

  constructor(offset: number, message: string, hint?: string) {
    this.offset = offset;
    this.message = message;
    this.hint = hint;
  }
}

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
const DECIMAL = /^[+-]?(?:0|[1-9][0-9]*)(?:N|(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?)$/;
/** EdnReader's symbolPat: an optional namespace, and a name that does not begin with a digit. */
const NAME = /^:?([^0-9/][^\n\r\u0085\u2028\u2029]*\/)?(\/|[^0-9/][^/]*)$/;
/** The quote of a symbol in code ('x), which EDN treats as a part of the name. */
const QUOTED = /^'[^'0-9:+-]|^'[+-](?![0-9])/;

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["t", "\t"],
  ["r", "\r"],
  ["n", "\n"],
  ["b", "\b"],
  ["f", "\f"],
  ["\\", "\\"],
  ['"', '"'],
]);

/** Reads in linear time. */
class EdnReader {
  readonly #source: SourceText;
  readonly #text: string;
  #at = 0;

  constructor(source: SourceText) {
    this.#source = source;
    this.#text = source.text;
  }

  read(): ConfigNode {
    this.#skip(0);
    const node = this.#required(0, 0, "The configuration is empty.", "Write {} for the defaults.");
    this.#skip(0);
    if (")]}".includes(this.#char()) && this.#char() !== "")
      throw new EdnFault(this.#at, `Unexpected ${this.#char()}: nothing is open here.`);
    if (this.#char() === "") return node;
    throw new EdnFault(this.#at, "There is content after the end of the configuration.");
  }

  #char(ahead = 0): string {
    return this.#text.charAt(this.#at + ahead);
  }

  /** Skips blanks, comments, and forms discarded with #_. */
  #skip(depth: number): void {
    for (; this.#at < this.#text.length; this.#at += 1) {
      const char = this.#char();
      // The line break counts as a blank.
      if (char === ";") while (!["", "\n", "\r"].includes(this.#char(1))) this.#at += 1;
      else if (char === "#" && this.#char(1) === "_") {
        const from = this.#at;
        this.#at += 2;
        if (depth > MAX_DEPTH) throw tooDeep(from);
        this.#skip(depth + 1);
        this.#required(from, depth + 1, "There is nothing after #_ to discard.");
        this.#at -= 1;
      } else if (!BLANK.has(char)) return;
    }
  }

  /** Returns the form at the current position, which the one at `from` requires. */
  #required(from: number, depth: number, fault: string, hint?: string): ConfigNode {
    if (this.#char() === "" || (depth > 0 && ")]}".includes(this.#char())))
      throw new EdnFault(from, fault, hint);
    return this.#form(depth);
  }

  #form(depth: number): ConfigNode {
    const from = this.#at;
    if (depth > MAX_DEPTH) throw tooDeep(from);
    const origin = this.#source.originAt(from);
    const char = this.#char();
    switch (char) {
      case "{":
        return { type: "map", entries: this.#entries(undefined, depth), origin };
      case "[":
        return { type: "list", items: this.#items(depth).map(({ node }) => node), origin };
      case "(": {
        const [operator, ...rest] = this.#items(depth).map(({ node }) => node);
        if (operator?.type === "symbol")
          return { type: "call", name: operator.text, arguments: rest, origin };
        const message = "A list in parentheses must begin with a name, as in (Duration/ofHours 6).";
        throw new EdnFault(from, message, "Write lists as [a b c].");
      }
      case '"':
        return { type: "string", text: this.#string(), origin };
      case ")":
      case "]":
      case "}":
        throw new EdnFault(from, `Unexpected ${char}: nothing is open here.`);
      case "\\":
        throw this.#code(from);
      case "#":
        return { type: "map", entries: this.#dispatch(from, depth), origin };
    }
    if (this.#isNumber()) return { type: "number", value: this.#number(from), origin };
    const raw = this.#name(from);
    if (raw === "nil") return { type: "null", origin };
    if (raw === "true" || raw === "false") return { type: "boolean", value: raw === "true", origin };
    if (raw.startsWith(":")) return { type: "keyword", text: raw.slice(1), origin };
    if (raw.startsWith("'") && !QUOTED.test(raw)) throw this.#code(from);
    return { type: "symbol", text: raw.replace(/^'/, ""), origin };
  }

  /** Reads the items of the bracket at the current position. */
  #items(depth: number): readonly { readonly from: number; readonly node: ConfigNode }[] {
    const opened = this.#at;
    const closing = CLOSING[this.#char()] ?? "";
    const items: { from: number; node: ConfigNode }[] = [];
    this.#at += 1;
    for (;;) {
      this.#skip(depth + 1);
      const from = this.#at;
      const char = this.#char();
      if (char === "") throw new EdnFault(opened, `This is never closed; a ${closing} is missing.`);
      if (char === closing) {
        this.#at += 1;
        return items;
      }
      if (")]}".includes(char)) throw new EdnFault(from, `Unexpected ${char}: ${closing} was expected.`);
      items.push({ from, node: this.#form(depth + 1) });
    }
  }

  /** Reads a map. The namespace of a map applies to its keywords that have none; `_/x` is `x`. */
  #entries(namespace: string | undefined, depth: number): ConfigEntry[] {
    const items = this.#items(depth);
    const end = this.#at;
    const keys = new Map<string, string>();
    const entries: ConfigEntry[] = [];
    for (let at = 0; at < items.length; at += 2) {
      const [key, value] = items.slice(at, at + 2);
      if (key === undefined) break;
      const { from, node } = key;
      if (node.type !== "keyword" && node.type !== "string")
        throw new EdnFault(from, "A key must be a keyword, such as :kv-store.");
      if (value === undefined) {
        const rest = this.#text.slice(from, end - 1).trimEnd();
        throw new EdnFault(from, `The key ${abbreviate(rest)} has no value.`);
      }
      const isPlain = namespace === undefined || node.type === "string";
      const written = isPlain ? node.text : nameIn(namespace, node.text);
      const name = normalizeName(written);
      const repeated = repeatedKey(keys, written, (one) => `:${abbreviate(one)}`);
      if (repeated !== undefined) throw new EdnFault(from, repeated.message, repeated.hint);
      entries.push({ name, nameOrigin: node.origin, value: value.node });
    }
    return entries;
  }

  #string(): string {
    const opened = this.#at;
    let text = "";
    for (;;) {
      const from = this.#at + 1;
      for (this.#at = from; !['"', "\\", ""].includes(this.#char());) this.#at += 1;
      text += this.#text.slice(from, this.#at);
      if (this.#char() === "") throw new EdnFault(opened, "This string has no closing quote.");
      if (this.#char() === '"') break;
      text += this.#escape();
    }
    this.#at += 1;
    return text;
  }

  #escape(): string {
    const from = this.#at;
    const letter = this.#char(1);
    const digits = letter === "u" ? this.#text.slice(from + 2, from + 6) : "";
    this.#at += 1 + digits.length;
    const plain = ESCAPES.get(letter);
    if (plain !== undefined) return plain;
    if (/^[0-9a-fA-F]{4}$/.test(digits)) return String.fromCharCode(Number.parseInt(digits, 16));
    throw new EdnFault(
      from,
      `A configuration has no escape \\${letter}; it has \\t \\r \\n \\b \\f \\\\ \\", and \\u with four digits.`,
      'In a string, write a backslash twice: "C:\\\\data".',
    );
  }

  /** Reads `#:namespace{…}`. All other forms that begin with # have no meaning, or are code. */
  #dispatch(from: number, depth: number): ConfigEntry[] {
    if (this.#char(1) !== ":") throw this.#code(from);
    this.#at += 2;
    this.#skip(depth + 1);
    const at = this.#at;
    const name = MACRO.test(this.#char()) || this.#isNumber() ? "" : this.#name(at);
    while (BLANK.has(this.#char())) this.#at += 1;
    if (/^$|^:|^(?:nil|true|false)$|[^]\/|\/[^]/.test(name) || this.#char() !== "{")
      throw new EdnFault(from, "Expected a namespace and a map, as in #:cairn{:node {}}.");
    return this.#entries(name, depth);
  }

  #isNumber(): boolean {
    const char = this.#char();
    return DIGIT.test("+-".includes(char) ? this.#char(1) : char);
  }

  #number(from: number): number {
    while (this.#char() !== "" && !BLANK.has(this.#char()) && !MACRO.test(this.#char())) this.#at += 1;
    const raw = this.#text.slice(from, this.#at);
    if (!DECIMAL.test(raw)) {
      const message = `${abbreviate(raw)} is not a number in decimal digits.`;
      throw new EdnFault(from, message, "Write strings in double quotes.");
    }
    // EDN has no negative integer zero.
    const value = Number(raw.replace(/[NM]$/, "").replace(/^-0$/, "0"));
    if (Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
    throw new EdnFault(from, `${raw} is too large; numbers go up to ${Number.MAX_SAFE_INTEGER}.`);
  }

  /** Reads a symbol or a keyword as it is written. */
  #name(from: number): string {
    if (CODE.test(this.#char())) throw this.#code(from);
    const raw = this.#token();
    const [, namespace = "", name = ""] = NAME.exec(raw) ?? [];
    if (name !== "" && !namespace.endsWith(":/") && !name.endsWith(":") && !raw.includes("::")) return raw;
    throw new EdnFault(from, `${abbreviate(raw)} is not a ${raw.startsWith(":") ? "keyword" : "symbol"}.`);
  }

  #token(): string {
    const from = this.#at;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const char = this.#char();
      if (BLANK.has(char) || (MACRO.test(char) && char !== "#")) break;
      if (CODE.test(char)) throw new EdnFault(this.#at, `${JSON.stringify(char)} is not allowed here.`);
    }
    return this.#text.slice(from, this.#at);
  }

  #code(from: number): EdnFault {
    // What follows may be a secret that is not in quotes.
    const mark = this.#text.slice(from, from + (this.#text[from] === "#" ? 2 : 1));
    return new EdnFault(from, `${JSON.stringify(mark)} has no meaning in a configuration.`, ONLY_DATA);
  }
}

function tooDeep(at: number): EdnFault {
  return new EdnFault(at, `This is nested more than ${MAX_DEPTH} deep.`);
}

function nameIn(namespace: string, name: string): string {
  if (name.startsWith("_/")) return name.slice(2);
  return name.includes("/") && name !== "/" ? name : `${namespace}/${name}`;
}

const ONLY_DATA =
  'Write strings in double quotes, numbers, names, and lists as [a b c]. The only calls are those like (Duration/ofHours 6). "${NAME}" is a variable of the environment.';
