import { parser } from "@nextjournal/lezer-clojure";
import { normalizeName } from "./config-tree.ts";
import type { ConfigEntry, ConfigNode, Origin } from "./config-tree.ts";
import { decodeKeyword, decodeNumber, decodeString, isName } from "./edn-token.ts";
import type { Decoded } from "./edn-token.ts";
import { EdnFault, grammarFault, refusal } from "./edn-fault.ts";
import type { SyntaxNode } from "./edn-fault.ts";
import type { ProblemList } from "./problems.ts";
import { MAX_DEPTH } from "./source-text.ts";
import type { SourceText } from "./source-text.ts";

const ATOMS: ReadonlySet<string> = new Set(["Number", "Symbol", "Keyword", "Boolean", "Nil", "Character"]);
const PUNCTUATION: ReadonlySet<string> = new Set(["{", "}", "[", "]", "(", ")", "'", "#", "#_", '"']);

/**
 * Reads EDN into a tree with places; undefined when `problems` got any. Strict where the grammar beneath is lenient (it is made for
 * editors): unbalanced brackets, odd maps, keys twice, tokens grown together and anything after the end are errors.
 */
export function readEdn(source: SourceText, problems: ProblemList): ConfigNode | undefined {
  try {
    return new EdnReader(source).readAll();
  } catch (fault) {
    if (!(fault instanceof EdnFault)) throw fault;
    const options = { code: "CONFIG_SYNTAX" as const };
    const { offset, message, hint } = fault;
    problems.add(source.originAt(offset), [], message, hint === undefined ? options : { ...options, hint });
    return undefined;
  }
}

class EdnReader {
  readonly #source: SourceText;

  constructor(source: SourceText) {
    this.#source = source;
  }

  readAll(): ConfigNode {
    const top = parser.parse(this.#source.text).topNode;
    const [first, second] = this.#values(top, 0);
    if (first === undefined)
      throw new EdnFault(0, "The configuration is empty.", "Write {} for the defaults.");
    if (second !== undefined)
      throw new EdnFault(second.from, "There is something after the end of the configuration.");
    return this.#read(first, 0);
  }

  #read(node: SyntaxNode, depth: number, namespace?: string): ConfigNode {
    if (depth > MAX_DEPTH) throw new EdnFault(node.from, `This is nested more than ${MAX_DEPTH} deep.`);
    const origin = this.#source.originAt(node.from);
    // Longer than any token; of a map or list, which may be the whole text, no copy is made.
    const raw = this.#source.text.slice(node.from, Math.min(node.to, node.from + 1000));
    switch (node.name) {
      case "Map":
        return { type: "map", entries: this.#entries(node, depth, namespace), origin };
      case "NamespacedMap":
        return this.#namespacedMap(node, depth);
      case "Vector":
        return {
          type: "list",
          items: this.#values(node, depth).map((item) => this.#read(item, depth + 1)),
          origin,
        };
      case "List":
        return this.#call(node, depth, origin);
      case "String": {
        // The node may be cut short by the end of the text; its own children tell.
        const inside = this.#source.text.slice(node.from + 1, node.to - 1);
        this.#values(node, depth);
        return { type: "string", text: decoded(decodeString(inside), node.from + 1), origin };
      }
      case "Number":
        return { type: "number", value: decoded(decodeNumber(raw), node.from), origin };
      case "Boolean":
        return { type: "boolean", value: raw === "true", origin };
      case "Nil":
        return { type: "null", origin };
      case "Keyword":
        return { type: "keyword", text: decoded(decodeKeyword(raw), node.from), origin };
      case "Quote":
        return this.#quoted(node, depth);
      case "Symbol":
      case "Operator":
      case "DefLike":
      case "NS":
      case "VarName":
        if (!isName(raw)) throw new EdnFault(node.from, `${raw} is not a symbol.`);
        return { type: "symbol", text: raw, origin };
      default:
        throw refusal(node, raw);
    }
  }

  /** The value nodes beneath `node`: without brackets, comments and what `#_` takes out. */
  #values(node: SyntaxNode, depth: number): SyntaxNode[] {
    const values: SyntaxNode[] = [];
    let last: SyntaxNode | undefined;
    for (let child = node.firstChild; child !== null; child = child.nextSibling) {
      if (child.type.isError) throw grammarFault(child, node, this.#source.text);
      if (child.name === "Discard") this.#checkDiscard(child, depth + 1);
      else if (
        child.name !== "LineComment" &&
        child.name !== "StringContent" &&
        !PUNCTUATION.has(child.name)
      ) {
        if (last !== undefined && last.to === child.from && ATOMS.has(last.name) && ATOMS.has(child.name)) {
          throw new EdnFault(child.from, "There must be white space between two values.");
        }
        values.push(child);
        last = child;
      }
    }
    return values;
  }

  /** What was taken out need not mean anything, but its brackets must close: else it takes out more than it seems. */
  #checkDiscard(node: SyntaxNode, depth: number): void {
    if (depth > MAX_DEPTH) throw new EdnFault(node.from, `This is nested more than ${MAX_DEPTH} deep.`);
    for (let child = node.firstChild; child !== null; child = child.nextSibling) {
      if (child.type.isError) throw grammarFault(child, node, this.#source.text);
      this.#checkDiscard(child, depth + 1);
    }
  }

  #entries(node: SyntaxNode, depth: number, namespace: string | undefined): ConfigEntry[] {
    const values = this.#values(node, depth);
    const entries = new Map<string, ConfigEntry>();
    for (let at = 0; at < values.length; at += 2) {
      const [keyNode, valueNode] = [values[at], values[at + 1]];
      if (keyNode === undefined) break;
      const key = this.#read(keyNode, depth + 1);
      if (key.type !== "keyword" && key.type !== "string") {
        throw new EdnFault(keyNode.from, "A key must be a keyword, such as :kv-store.");
      }
      if (valueNode === undefined) throw new EdnFault(keyNode.from, `The key :${key.text} has no value.`);
      const name = normalizeName(inNamespace(key.text, namespace));
      if (entries.has(name))
        throw new EdnFault(keyNode.from, `The key :${name} is there twice.`, "Keep one of the two.");
      entries.set(name, { name, nameOrigin: key.origin, value: this.#read(valueNode, depth + 1) });
    }
    return [...entries.values()];
  }

  #namespacedMap(node: SyntaxNode, depth: number): ConfigNode {
    const prefix = node.firstChild;
    const [map] = this.#values(node, depth).filter((value) => value.name === "Map");
    if (prefix === null || map === undefined)
      throw new EdnFault(node.from, "A namespace must be followed by a map.");
    const raw = this.#source.text.slice(prefix.from + 1, prefix.to);
    return this.#read(map, depth, decoded(decodeKeyword(raw), prefix.from + 1));
  }

  #call(node: SyntaxNode, depth: number, origin: Origin): ConfigNode {
    const [operator, ...rest] = this.#values(node, depth).map((item) => this.#read(item, depth + 1));
    if (operator?.type !== "symbol") {
      throw new EdnFault(
        node.from,
        "A list in parentheses must begin with a name, as in (Duration/ofHours 6).",
        "Write lists as [a b c].",
      );
    }
    return { type: "call", name: operator.text, arguments: rest, origin };
  }

  #quoted(node: SyntaxNode, depth: number): ConfigNode {
    const [inner] = this.#values(node, depth);
    if (inner?.name !== "Symbol")
      throw new EdnFault(node.from, "A quote must stand before a symbol, as in 'cairn.leveldb/->kv-store.");
    return { ...this.#read(inner, depth + 1), origin: this.#source.originAt(node.from) };
  }
}

function decoded<T>(result: Decoded<T>, offset: number): T {
  if ("value" in result) return result.value;
  throw new EdnFault(offset + result.offset, result.fault);
}

function inNamespace(name: string, namespace: string | undefined): string {
  // As Clojure reads `#:ns{…}`: what has a namespace keeps it, and `:_/x` is `:x`.
  if (namespace === undefined) return name;
  if (name.startsWith("_/")) return name.slice(2);
  return name.includes("/") ? name : `${namespace}/${name}`;
}
