import { DEFAULT_ORIGIN, emptyMap } from "./config-tree.ts";
import type { ConfigEntry, ConfigNode, MapNode } from "./config-tree.ts";

/**
 * Merges trees, weakest first. Maps are merged key by key, and other values are replaced as a whole. A `null` in a
 * stronger source removes a value. Each leaf keeps its origin, and each entry records the value that it replaced.
 */
export function mergeTrees(trees: readonly MapNode[]): MapNode {
  return trees.reduce(mergeMaps, emptyMap(DEFAULT_ORIGIN));
}

function mergeMaps(weak: MapNode, strong: MapNode): MapNode {
  const entries = new Map<string, ConfigEntry>(weak.entries.map((entry) => [entry.name, entry]));
  for (const entry of strong.entries) {
    const below = entries.get(entry.name);
    entries.set(entry.name, below === undefined ? entry : mergeEntries(below, entry));
  }
  return {
    type: "map",
    entries: [...entries.values()],
    origin: unwritten(weak) ? strong.origin : weak.origin,
  };
}

function mergeEntries(weak: ConfigEntry, strong: ConfigEntry): ConfigEntry {
  if (strong.value.type !== "map") return { ...strong, replaced: weak.value };
  // A value of another type cannot be merged with the map, so the stronger source replaces it.
  const below = asMap(weak.value);
  if (below === undefined) return { ...strong, replaced: weak.value };
  const value = mergeMaps(below, strong.value);
  return { ...(unwritten(below) ? strong : weak), value };
}

/**
 * Returns whether a map is empty or a default. When such a map is merged with another, the result has the origin of the
 * other map, so that problems are reported where they can be corrected.
 */
function unwritten(map: MapNode): boolean {
  return map.entries.length === 0 || map.origin.kind === "default";
}

/** Expands a module's short form (`"cairn.memory/->kv-store"`) to a map, to which a stronger source may add parameters. */
function asMap(node: ConfigNode): MapNode | undefined {
  if (node.type === "map") return node;
  if (node.type !== "symbol" && node.type !== "string") return undefined;
  const entry = { name: "cairn/module", nameOrigin: node.origin, value: node };
  return { type: "map", entries: [entry], origin: node.origin };
}
