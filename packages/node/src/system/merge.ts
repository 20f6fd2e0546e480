import type { ConfigEntry, ConfigNode, MapNode } from "./config-tree.ts";

/**
 * Lays trees over one another, weakest first: maps key by key, everything else whole. A `null` of a stronger source takes a value away.
 * Each leaf keeps its origin, and an entry that replaced another remembers it.
 */
export function mergeTrees(trees: readonly MapNode[], empty: MapNode): MapNode {
  return trees.reduce(mergeMaps, empty);
}

function mergeMaps(weak: MapNode, strong: MapNode): MapNode {
  const entries = new Map<string, ConfigEntry>(weak.entries.map((entry) => [entry.name, entry]));
  for (const entry of strong.entries) {
    const below = entries.get(entry.name);
    entries.set(entry.name, below === undefined ? entry : mergeEntries(below, entry));
  }
  // A map that only an empty source spoke of keeps the place of the one that says something.
  const origin = weak.entries.length === 0 ? strong.origin : weak.origin;
  return { type: "map", entries: [...entries.values()], origin };
}

function mergeEntries(weak: ConfigEntry, strong: ConfigEntry): ConfigEntry {
  if (strong.value.type !== "map") return { ...strong, replaced: weak.value };
  const below = asMap(weak.value);
  if (below === undefined) return { ...strong, replaced: weak.value };
  const value = mergeMaps(below, strong.value);
  return { ...(below.entries.length === 0 ? strong : weak), value };
}

/** A module written short (`"cairn.memory/->kv-store"`) is a map with that module, when a stronger source adds parameters to it. */
function asMap(node: ConfigNode): MapNode | undefined {
  if (node.type === "map") return node;
  if (node.type !== "symbol" && node.type !== "string") return undefined;
  const entry = { name: "cairn/module", nameOrigin: node.origin, value: node };
  return { type: "map", entries: [entry], origin: node.origin };
}
