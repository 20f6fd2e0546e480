/**
 * Where sources stand in precedence, weakest first: a value of a later kind replaces one of an earlier kind, key by key.
 * `object` (the argument of `startNode`) stands where the file stands; a call gives one or the other.
 */
export const SOURCE_KINDS = ["default", "file", "object", "environment", "json", "edn"] as const;

/** One of {@link SOURCE_KINDS}. */
export type SourceKind = (typeof SOURCE_KINDS)[number];

/** Where a value was written. */
export interface Origin {
  readonly kind: SourceKind;
  /** As messages name it: a file's path, `-e`, `-j`, `CAIRN_DIR`, `default`, `object`. */
  readonly label: string;
  /** From 1. Sources without lines have neither. */
  readonly line?: number;
  /** From 1, in UTF-16 units, as editors count. */
  readonly column?: number;
  /** Environment variables that `${NAME}` inserted here. */
  readonly variables?: readonly string[];
}

/** The origin of what nobody wrote. */
export const DEFAULT_ORIGIN: Origin = { kind: "default", label: "default" };

/** A key of a map with its value. The name is normalized: `crux/module`, `:xtdb/module` and `cairn/module` are all `cairn/module`. */
export interface ConfigEntry {
  readonly name: string;
  readonly nameOrigin: Origin;
  readonly value: ConfigNode;
  /** The value of a weaker source that this one replaced. */
  readonly replaced?: ConfigNode;
}

/** A map, in the order in which it was written. */
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

/** Text. `text` of a symbol is without its quote, of a keyword without its colon. */
export interface TextNode {
  readonly type: "string" | "symbol" | "keyword";
  readonly text: string;
  readonly origin: Origin;
}

/** An EDN list in the place of a value: `(Duration/ofHours 6)`. */
export interface CallNode {
  readonly type: "call";
  readonly name: string;
  readonly arguments: readonly ConfigNode[];
  readonly origin: Origin;
}

/** One value of a configuration, from whichever source, with the place where it was written. */
export type ConfigNode =
  | MapNode
  | ListNode
  | TextNode
  | CallNode
  | { readonly type: "number"; readonly value: number; readonly origin: Origin }
  | { readonly type: "boolean"; readonly value: boolean; readonly origin: Origin }
  | { readonly type: "null"; readonly origin: Origin }
  /** A value that only a program can give: a luxon Duration, a store, a function. */
  | { readonly type: "instance"; readonly value: unknown; readonly origin: Origin };

/** The namespaces of the older systems, each of which means `cairn`. */
export const OLDER_NAMESPACES = ["crux", "xtdb"] as const;

/** The names `crux/x` and `xtdb/x` of the older systems mean `cairn/x`. */
export function normalizeName(name: string): string {
  return name.replace(/^(?:crux|xtdb)\//, "cairn/");
}

/** The entry of that name, when `node` is a map that has one. */
export function findEntry(node: ConfigNode | undefined, name: string): ConfigEntry | undefined {
  if (node?.type !== "map") return undefined;
  return node.entries.find((entry) => entry.name === name);
}

/** The value at a path of names, when there is one. */
export function findNode(node: ConfigNode | undefined, ...names: readonly string[]): ConfigNode | undefined {
  let found = node;
  for (const name of names) found = findEntry(found, name)?.value;
  return found;
}

/** An empty map, for sources that say nothing. */
export function emptyMap(origin: Origin): MapNode {
  return { type: "map", entries: [], origin };
}

/** `FILE:LINE:COLUMN`, or the label alone where there are no lines. */
export function placeOf(origin: Origin): string {
  return origin.line === undefined ? origin.label : `${origin.label}:${origin.line}:${origin.column ?? 1}`;
}

/** A value as messages name it: short, one line, never long enough to hide the sentence around it. */
export function describeNode(node: ConfigNode): string {
  switch (node.type) {
    case "map":
      return node.entries.length === 0 ? "an empty map" : "a map";
    case "list":
      return node.items.length === 0 ? "an empty list" : "a list";
    case "string":
      return JSON.stringify(shorten(node.text));
    case "symbol":
      return `the symbol ${shorten(node.text)}`;
    case "keyword":
      return `the keyword :${shorten(node.text)}`;
    case "call":
      return `(${shorten(node.name)} …)`;
    case "number":
    case "boolean":
      return String(node.value);
    case "null":
      return "null";
    case "instance":
      return typeof node.value === "function" ? "a function" : "an object";
  }
}

/** A text as messages quote it: 60 characters at most. */
export function shorten(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}
