import { normalizeName } from "./config-tree.ts";
import type { ConfigEntry, ConfigNode } from "./config-tree.ts";
import { EdnFault, type EdnForm, nameIn } from "./edn-form.ts";
import { bareQuote, EdnReader } from "./edn-reader.ts";
import type { ProblemList } from "./problems.ts";
import type { SourceText } from "./source-text.ts";

/**
 * Reads EDN into a tree with positions. Returns undefined after adding a problem. Rejects everything that Clojure's
 * reader rejects, and forms that have no meaning in a configuration: sets, characters, tags, metadata, numbers that are
 * not decimal, and anything after the first value.
 */
export function readEdn(source: SourceText, problems: ProblemList): ConfigNode | undefined {
  try {
    const reader = new EdnReader(source.text);
    const first = reader.next();
    if (first === undefined)
      throw new EdnFault(0, "The configuration is empty.", "Write {} for the defaults.");
    const second = reader.next();
    if (second !== undefined)
      throw new EdnFault(second.from, "There is content after the end of the configuration.");
    return new TreeBuilder(source).build(first);
  } catch (fault) {
    if (!(fault instanceof EdnFault)) throw fault;
    problems.add(source.originAt(fault.offset), [], fault.message, {
      code: "CONFIG_SYNTAX",
      hint: isJson(source.text) ? JSON_HINT : fault.hint,
    });
    return undefined;
  }
}

const JSON_HINT = "Rename the file to .json, or pass its content with -j, because it is JSON.";

class TreeBuilder {
  readonly #source: SourceText;

  constructor(source: SourceText) {
    this.#source = source;
  }

  build(form: EdnForm): ConfigNode {
    const origin = this.#source.originAt(form.from);
    switch (form.kind) {
      case "map":
        return { type: "map", entries: this.#entries(form), origin };
      case "vector":
        return { type: "list", items: form.items.map((item) => this.build(item)), origin };
      case "list":
        return this.#call(form);
      case "symbol":
        return { type: "symbol", text: unquoted(form.text, form.from), origin };
      case "string":
      case "keyword":
        return { type: form.kind, text: form.text, origin };
      case "number":
        return { type: "number", value: numberOf(form.raw, form.from), origin };
      case "boolean":
        return { type: "boolean", value: form.value, origin };
      case "nil":
        return { type: "null", origin };
      case "set":
        throw new EdnFault(form.from, "A set has no meaning in a configuration.", "Write a list: [a b c].");
      case "character":
        throw new EdnFault(
          form.from,
          `The character ${this.#source.text.slice(form.from, form.to)} has no meaning in a configuration.`,
          "Write it as a string in double quotes.",
        );
    }
  }

  #entries({ items, namespace }: EdnForm & { readonly kind: "map" }): ConfigEntry[] {
    const entries = new Map<string, ConfigEntry>();
    for (let at = 0; at < items.length; at += 2) {
      const [key, value] = items.slice(at, at + 2);
      if (key === undefined || value === undefined) break;
      if (key.kind !== "keyword" && key.kind !== "string") {
        throw new EdnFault(key.from, "A key must be a keyword, such as :kv-store.");
      }
      // The namespace of a map applies only to its keywords.
      const name = normalizeName(key.kind === "keyword" ? nameIn(namespace, key.text) : key.text);
      if (entries.has(name))
        throw new EdnFault(key.from, `The key :${name} is repeated.`, "Keep one of the two.");
      entries.set(name, { name, nameOrigin: this.#source.originAt(key.from), value: this.build(value) });
    }
    return [...entries.values()];
  }

  #call({ items, from }: Pick<EdnForm & { readonly kind: "list" }, "items" | "from">): ConfigNode {
    const [operator, ...rest] = items.map((item) => this.build(item));
    if (operator?.type !== "symbol") {
      throw new EdnFault(
        from,
        "A list in parentheses must begin with a name, as in (Duration/ofHours 6).",
        "Write lists as [a b c].",
      );
    }
    return { type: "call", name: operator.text, arguments: rest, origin: this.#source.originAt(from) };
  }
}

/** Removes the quote of a symbol in code ('x), which EDN treats as part of the name. */
function unquoted(text: string, from: number): string {
  if (!text.startsWith("'")) return text;
  if (/^'[^'0-9:+-]|^'[+-](?![0-9])/.test(text)) return text.slice(1);
  throw bareQuote(from);
}

/** Returns the value of a number. Rejects ratios and other bases, which no parameter accepts. */
function numberOf(raw: string, from: number): number {
  if (!/^[+-]?(?:0|[1-9][0-9]*)(?:N|(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?M?)$/.test(raw)) {
    const message = `${raw} is not a number that a configuration can contain; write it in decimal digits.`;
    throw new EdnFault(from, message);
  }
  // EDN has no negative integer zero.
  const value = Number(raw.replace(/[NM]$/, "").replace(/^-0$/, "0"));
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    throw new EdnFault(from, `${raw} is too large; numbers go up to ${Number.MAX_SAFE_INTEGER}.`);
  }
  return value;
}

function isJson(text: string): boolean {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
