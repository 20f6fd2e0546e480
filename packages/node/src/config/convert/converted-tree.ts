import type { Origin } from "../source/config-tree.ts";

/** A value of a configuration that is being converted. */
export type Converted =
  | ConvertedMap
  | { readonly type: "list"; readonly items: readonly Converted[] }
  | { readonly type: "string" | "symbol" | "keyword"; readonly text: string }
  | { readonly type: "scalar"; readonly value: number | boolean | null };

/** A map, with its entries in the order in which they were written. */
export interface ConvertedMap {
  readonly type: "map";
  readonly entries: ConvertedEntry[];
}

/** An entry of a map. Without a value, it marks the position of a removed entry. */
export interface ConvertedEntry {
  readonly name: string;
  /** The entry's position in the file. */
  readonly origin: Origin;
  value: Converted | undefined;
  /** Notes on the entry. Each consists of one or more sentences. */
  readonly notes: string[];
}

/** Returns the entry at a path of names, or its nearest existing ancestor. */
export function nearestEntry(root: ConvertedMap, path: readonly string[]): ConvertedEntry | undefined {
  let found: ConvertedEntry | undefined;
  let map: Converted | undefined = root;
  for (const name of path) {
    const entry: ConvertedEntry | undefined =
      map?.type === "map" ? entriesOf(map).find((one) => one.name === name) : undefined;
    if (entry === undefined) break;
    found = entry;
    map = entry.value;
  }
  return found;
}

/** Returns the remaining entries. */
export function entriesOf(map: ConvertedMap): readonly (ConvertedEntry & { readonly value: Converted })[] {
  return map.entries.filter(
    (entry): entry is ConvertedEntry & { readonly value: Converted } => entry.value !== undefined,
  );
}

/** Yields every entry with its path, in the order of the file. */
export function* everyEntry(
  map: ConvertedMap,
  above: readonly string[] = [],
): Generator<{ readonly entry: ConvertedEntry; readonly path: readonly string[] }> {
  for (const entry of map.entries) {
    const path = [...above, entry.name];
    yield { entry, path };
    if (entry.value?.type === "map") yield* everyEntry(entry.value, path);
  }
}

export function plainOf(value: Converted): unknown {
  switch (value.type) {
    case "map":
      return Object.fromEntries(entriesOf(value).map(({ name, value: inner }) => [name, plainOf(inner)]));
    case "list":
      return value.items.map(plainOf);
    case "scalar":
      return value.value;
    default:
      return value.text;
  }
}
