import { placeOf, type Origin } from "./source/config-tree.ts";
import { literalText } from "./source/interpolate.ts";
import type { ResolvedConfig } from "./read-config.ts";
import type { ConfigPath } from "./source/problems.ts";
import type { Setting } from "./types/reading.ts";
import type { SettingValue } from "./types/json-schema.ts";

/** The settings of a map by name, or of a list by number, in the order in which they were read. */
interface Tree extends Map<string | number, Tree | Setting> {}

/** Formats the configuration as text. Each value is followed by its origin, and secrets are redacted. */
export function printConfig({ settings }: Pick<ResolvedConfig, "settings">): string {
  const rows = [...rowsOf(treeOf(settings), 0)];
  // A single long path must not push all origins off the screen.
  const width = Math.min(90, Math.max(0, ...rows.map(({ left, from }) => (from === "" ? 0 : left.length))));
  return rows.map(({ left, from }) => (from === "" ? left : `${left.padEnd(width)}  # ${from}`)).join("\n");
}

/**
 * Returns the configuration as JSON: the values, which are a configuration file of the same node unless they contain
 * secrets, and the origin of each path.
 */
export function configAsJson({ settings }: Pick<ResolvedConfig, "settings">): {
  readonly values: SettingValue;
  readonly origins: readonly { readonly path: ConfigPath; readonly from: string }[];
} {
  const tree = treeOf(settings);
  const origins = [...leavesOf(tree)].map(({ path, origin }) => ({ path, from: originText(origin) }));
  // Variables are expanded in the strings of a file.
  const values: SettingValue = JSON.parse(JSON.stringify(valueOf(tree)), (_, value: unknown) =>
    typeof value === "string" ? literalText(value) : value,
  );
  return { values, origins };
}

function treeOf(settings: readonly Setting[]): Tree {
  const root: Tree = new Map();
  for (const setting of settings) {
    let tree = root;
    for (const name of setting.path.slice(0, -1)) {
      const known = tree.get(name);
      const below: Tree = known instanceof Map ? known : new Map();
      tree.set(name, below);
      tree = below;
    }
    tree.set(setting.path.at(-1) ?? "", setting);
  }
  return root;
}

/** The values of a map come before the maps in it. */
function inOrder(tree: Tree): readonly (readonly [string | number, Tree | Setting])[] {
  const entries = [...tree];
  return [
    ...entries.filter(([, entry]) => !(entry instanceof Map)),
    ...entries.filter(([, entry]) => entry instanceof Map),
  ];
}

function* leavesOf(tree: Tree): Generator<Setting> {
  for (const [, entry] of inOrder(tree)) {
    if (entry instanceof Map) yield* leavesOf(entry);
    else yield entry;
  }
}

function* rowsOf(tree: Tree, depth: number): Generator<{ readonly left: string; readonly from: string }> {
  const indent = "  ".repeat(depth);
  for (const [name, entry] of inOrder(tree)) {
    if (entry instanceof Map) {
      yield { left: `${indent}${name}`, from: "" };
      yield* rowsOf(entry, depth + 1);
    } else {
      const text = entry.value === "(secret)" ? entry.value : JSON.stringify(entry.value);
      yield { left: `${indent}${name} = ${text}`, from: originText(entry.origin) };
    }
  }
}

function valueOf(tree: Tree): SettingValue {
  const entries = [...tree].map(
    ([name, entry]) => [name, entry instanceof Map ? valueOf(entry) : entry.value] as const,
  );
  const isList = entries.some(([name]) => typeof name === "number");
  return isList ? entries.map(([, value]) => value) : Object.fromEntries(entries);
}

function originText(origin: Origin): string {
  const place = placeOf(origin);
  const variables = origin.variables ?? [];
  return variables.length === 0 ? place : `${place}, with ${variables.join(", ")}`;
}
