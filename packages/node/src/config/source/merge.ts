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
  return {
    type: "map",
    entries: [...entries.values()],
    origin: unwritten(weak) ? strong.origin : weak.origin,
  };
}

function mergeEntries(weak: ConfigEntry, strong: ConfigEntry): ConfigEntry {
  if (strong.value.type !== "map") return { ...strong, replaced: weak.value };
  // A value of another type below would otherwise mix with the map: the stronger source means the whole.
  const below = asMap(weak.value);
  if (below === undefined) return { ...strong, replaced: weak.value };
  const value = mergeMaps(below, strong.value);
  return { ...(unwritten(below) ? strong : weak), value };
}

/** A map that nobody wrote gives its place to one that somebody did: problems are told where they can be mended. */
function unwritten(map: MapNode): boolean {
  return map.entries.length === 0 || map.origin.kind === "default";
}

/** A module written short (`"cairn.memory/->kv-store"`) is a map with that module, when a stronger source adds parameters to it. */
function asMap(node: ConfigNode): MapNode | undefined {
  if (node.type === "map") return node;
  if (node.type !== "symbol" && node.type !== "string") return undefined;
  const entry = { name: "cairn/module", nameOrigin: node.origin, value: node };
  return { type: "map", entries: [entry], origin: node.origin };
}
