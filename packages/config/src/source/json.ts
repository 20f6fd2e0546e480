import { createScanner, parseTree, type Node, type ParseError } from "jsonc-parser";
import {
  abbreviate,
  normalizeName,
  repeatedKey,
  type ConfigEntry,
  type ConfigNode,
  type Origin,
} from "./config-tree.ts";
import type { ProblemList } from "./problems.ts";
import { MAX_DEPTH, type SourceText } from "./source-text.ts";
import { Duration } from "luxon";

const FORM =
  "Check this place and what is before it: keys and strings are in double quotes, brackets are in pairs, commas are only between entries, and there are no comments.";

/** Reads standard JSON (no comments, no repeated keys) into a tree with positions; undefined after adding problems. */
export function readJson(source: SourceText, problems: ProblemList): ConfigNode | undefined {
  const before = problems.problems.length;
  const refuse = (offset: number, message: string, hint?: string): undefined =>
    void problems.add(source.originAt(offset), [], message, hint, "CONFIG_SYNTAX");
  const deep = tooDeepAt(source.text);
  if (deep !== undefined) return refuse(deep, `This is nested more than ${MAX_DEPTH} deep.`);
  const errors: ParseError[] = [];
  const root = parseTree(source.text, errors, { disallowComments: true, allowTrailingComma: false });
  // Only the first error is reported, because the others usually result from it.
  const [first] = errors;
  if (first !== undefined && source.text.trim() !== "")
    return refuse(first.offset, "This is not valid JSON.", FORM);
  if (root === undefined || first !== undefined)
    return refuse(0, "The configuration is empty.", "Write {} for the defaults.");
  const node = toTree(root, source, refuse);
  return problems.problems.length === before ? node : undefined;
}

type Refuse = (offset: number, message: string, hint: string) => void;

function toTree(node: Node, source: SourceText, refuse: Refuse): ConfigNode {
  const origin = source.originAt(node.offset);
  const children = node.children ?? [];
  switch (node.type) {
    case "object":
      return { type: "map", entries: entriesOf(children, source, refuse), origin };
    case "array":
      return { type: "list", items: children.map((item) => toTree(item, source, refuse)), origin };
    case "string":
      return { type: "string", text: String(node.value), origin };
    case "boolean":
      return { type: "boolean", value: node.value === true, origin };
    case "number":
      return { type: "number", value: Number(node.value), origin };
    default:
      return { type: "null", origin };
  }
}

function entriesOf(properties: readonly Node[], source: SourceText, refuse: Refuse): ConfigEntry[] {
  const keys = new Map<string, string>();
  const entries: ConfigEntry[] = [];
  for (const property of properties) {
    const [key, value] = property.children ?? [];
    if (key === undefined || value === undefined) continue;
    const name = normalizeName(String(key.value));
    const nameOrigin = source.originAt(key.offset);
    const repeated = repeatedKey(keys, String(key.value), quoted);
    if (repeated !== undefined) refuse(key.offset, repeated.message, repeated.hint);
    else entries.push({ name, nameOrigin, value: toTree(value, source, refuse) });
  }
  return entries;
}

function quoted(name: string): string {
  return JSON.stringify(abbreviate(name));
}

// The parser is recursive, and continues after faults, so its own tokens are counted before parsing. It skips a closing
// bracket of the wrong kind.
function tooDeepAt(text: string): number | undefined {
  const scanner = createScanner(text, true);
  const open: string[] = [];
  for (scanner.scan(); scanner.getTokenLength() > 0; scanner.scan()) {
    const first = text[scanner.getTokenOffset()];
    if (first === "{" || first === "[") open.push(first === "{" ? "}" : "]");
    else if (first === open.at(-1)) open.pop();
    if (open.length > MAX_DEPTH) return scanner.getTokenOffset();
  }
  return undefined;
}

const ORIGIN: Origin = { kind: "object", label: "object" };

/** Plain data becomes nodes, and other values remain instances. Undefined fields are skipped. */
export function objectTree(
  value: unknown,
  problems: ProblemList,
  path: readonly string[] = [],
): ConfigNode | undefined {
  if (path.length > MAX_DEPTH) {
    problems.add(ORIGIN, path.slice(0, 4), `This is nested more than ${MAX_DEPTH} deep, or contains itself.`);
    return undefined;
  }
  const origin = ORIGIN;
  if (value === null) return { type: "null", origin };
  if (typeof value === "string") return { type: "string", text: value, origin };
  if (typeof value === "number") return { type: "number", value, origin };
  if (typeof value === "boolean") return { type: "boolean", value, origin };
  if (Array.isArray(value)) {
    const items = value.map((item, index) => objectTree(item ?? null, problems, [...path, String(index)]));
    return { type: "list", items: items.filter((item) => item !== undefined), origin };
  }
  if (!isPlainData(value)) return { type: "instance", value, origin };
  const keys = new Map<string, string>();
  const entries: ConfigEntry[] = [];
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const name = normalizeName(key);
    const child = objectTree(item, problems, [...path, name]);
    const repeated = repeatedKey(keys, key, quoted);
    if (repeated !== undefined) problems.add(origin, [...path, name], repeated.message, repeated.hint);
    else if (child !== undefined) entries.push({ name, nameOrigin: origin, value: child });
  }
  return { type: "map", entries, origin };
}

/** False for a part, which has functions. A map with the name of a module or parameter is data: no method has one. */
function isPlainData(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Duration.isDuration(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return false;
  const members = Object.entries(value);
  if (members.some(([name]) => /[-/]/.test(name))) return true;
  return !members.some(([, member]) => typeof member === "function");
}
