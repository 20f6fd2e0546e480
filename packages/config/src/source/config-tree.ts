/** The kinds of sources, weakest first; a later one replaces key by key. `object` is the argument of `startNode`. */
export const SOURCE_KINDS = ["default", "file", "object", "environment", "json", "edn"] as const;

export type SourceKind = (typeof SOURCE_KINDS)[number];

/** The position at which a value was written. */
export interface Origin {
  readonly kind: SourceKind;
  /** The source's name in messages: a file's path, `-e`, `-j`, `CAIRN_DIR`, `default`, `object`. */
  readonly label: string;
  /** The line, counted from 1. Sources without lines have neither a line nor a column. */
  readonly line?: number;
  /** The column, counted from 1, in UTF-16 units as in editors. */
  readonly column?: number;
  /** The environment variables that were expanded here from `${NAME}`. */
  readonly variables?: readonly string[];
}

export const DEFAULT_ORIGIN: Origin = { kind: "default", label: "default" };

/** A key of a map with its value. The name is normalized: `crux/module` and `:xtdb/module` become `cairn/module`. */
export interface ConfigEntry {
  readonly name: string;
  readonly nameOrigin: Origin;
  readonly value: ConfigNode;
  /** The value of a weaker source that this value replaced. */
  readonly replaced?: ConfigNode;
}

/** A map, with its entries in the order in which they were written. */
export interface MapNode {
  readonly type: "map";
  readonly entries: readonly ConfigEntry[];
  readonly origin: Origin;
}

/** A list (an EDN vector, a JSON array). */
export interface ListNode {
  readonly type: "list";
  readonly items: readonly ConfigNode[];
  readonly origin: Origin;
}

/** A string, a symbol without its quote, or a keyword without its colon. */
export interface TextNode {
  readonly type: "string" | "symbol" | "keyword";
  readonly text: string;
  readonly origin: Origin;
}

/** An EDN list used as a value: `(Duration/ofHours 6)`. */
export interface CallNode {
  readonly type: "call";
  readonly name: string;
  readonly arguments: readonly ConfigNode[];
  readonly origin: Origin;
}

/** A value of a configuration, from any source, with the position at which it was written. */
export type ConfigNode =
  | MapNode
  | ListNode
  | TextNode
  | CallNode
  | { readonly type: "number"; readonly value: number; readonly origin: Origin }
  | { readonly type: "boolean"; readonly value: boolean; readonly origin: Origin }
  | { readonly type: "null"; readonly origin: Origin }
  /** A value that only a program can supply: a luxon Duration, a store, a function. */
  | { readonly type: "instance"; readonly value: unknown; readonly origin: Origin };

/** The hint for code used as a value. */
export const ONLY_CALL = "Write plain values; the only calls are those like (Duration/ofHours 6).";

/** The namespaces of the older systems, which are all equivalent to `cairn`. */
export const OLDER_NAMESPACES = ["crux", "xtdb"] as const;

/** Translates the names `crux/x` and `xtdb/x` of the older systems to `cairn/x`. */
export function normalizeName(name: string): string {
  return name.replace(/^(?:crux|xtdb)\//, "cairn/");
}

/**
 * Records a key of a map as it is written. Returns what is wrong if the map has one of the same meaning already.
 */
export function repeatedKey(
  keys: Map<string, string>,
  written: string,
  show: (name: string) => string,
): { readonly message: string; readonly hint: string } | undefined {
  const name = normalizeName(written);
  const before = keys.get(name);
  keys.set(name, written);
  if (before === undefined) return undefined;
  const message =
    before === written
      ? `The key ${show(written)} is repeated.`
      : `The keys ${show(before)} and ${show(written)} mean the same.`;
  return { message, hint: "Keep one of the two." };
}

export function findEntry(node: ConfigNode | undefined, name: string): ConfigEntry | undefined {
  if (node?.type !== "map") return undefined;
  return node.entries.find((entry) => entry.name === name);
}

/** Returns the value at a path of names, if there is one. */
export function findNode(node: ConfigNode | undefined, ...names: readonly string[]): ConfigNode | undefined {
  let found = node;
  for (const name of names) found = findEntry(found, name)?.value;
  return found;
}

export function emptyMap(origin: Origin): MapNode {
  return { type: "map", entries: [], origin };
}

export function mapOfValues(values: Readonly<Record<string, ConfigNode>>, origin: Origin): MapNode {
  const entries = Object.entries(values).map(([name, value]) => ({ name, nameOrigin: origin, value }));
  return { type: "map", entries, origin };
}

/** Returns `FILE:LINE:COLUMN`, or only the label for a source without lines. */
export function placeOf(origin: Origin): string {
  return origin.line === undefined ? origin.label : `${origin.label}:${origin.line}:${origin.column ?? 1}`;
}

/** Describes a value in a message, on one short line. */
export function describeNode(node: ConfigNode): string {
  switch (node.type) {
    case "map":
      return node.entries.length === 0 ? "an empty map" : "a map";
    case "list":
      return node.items.length === 0 ? "an empty list" : "a list";
    case "string":
      return JSON.stringify(abbreviate(node.text));
    case "symbol":
      return `the symbol ${abbreviate(node.text)}`;
    case "keyword":
      return `the keyword :${abbreviate(node.text)}`;
    case "call":
      return `(${abbreviate(node.name)} …)`;
    case "number":
    case "boolean":
      return String(node.value);
    case "null":
      return "null";
    case "instance":
      return typeof node.value === "function" ? "a function" : "an object";
  }
}

/** Shortens a string to at most 60 characters for use in a message. */
export function abbreviate(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}
