import { placeOf } from "./source/config-tree.ts";
import type { Origin } from "./source/config-tree.ts";
import type { ResolvedConfig } from "./read-config.ts";
import type { Setting } from "./types/reading.ts";
import type { SettingValue } from "./types/plain-value.ts";

/** Formats the configuration as text. Each value is followed by its origin, and secrets are redacted. */
export function printConfig(config: ResolvedConfig): string {
  const rows: { left: string; right: string }[] = [];
  let open: readonly string[] = [];
  for (const { path, value, origin } of inOrder(config.settings)) {
    const common = sharedLength(open, path);
    for (let depth = common; depth < path.length - 1; depth += 1) {
      rows.push({ left: `${"  ".repeat(depth)}${path[depth] ?? ""}`, right: "" });
    }
    const name = path.at(-1) ?? "";
    rows.push({
      left: `${"  ".repeat(path.length - 1)}${name} = ${valueText(value)}`,
      right: originText(origin),
    });
    open = path;
  }
  // A single long path must not push all origins off the screen.
  const width = Math.min(90, Math.max(0, ...rows.map((row) => (row.right === "" ? 0 : row.left.length))));
  return rows
    .map(({ left, right }) => (right === "" ? left : `${left.padEnd(width)}  # ${right}`))
    .join("\n");
}

/** Returns the configuration as JSON: the values as in a configuration file, and the origin of each path. */
export function configAsJson(config: ResolvedConfig): {
  readonly values: SettingValue;
  readonly origins: readonly { readonly path: readonly string[]; readonly from: string }[];
} {
  const origins = inOrder(config.settings).map(({ path, origin }) => ({ path, from: originText(origin) }));
  return { values: asValue(config.settings, 0), origins };
}

function asValue(settings: readonly Setting[], depth: number): SettingValue {
  const groups = new Map<string, Setting[]>();
  for (const setting of settings) {
    const name = setting.path[depth] ?? "";
    groups.set(name, [...(groups.get(name) ?? []), setting]);
  }
  return Object.fromEntries(
    [...groups].map(([name, group]) => {
      const leaf = group.find((setting) => setting.path.length === depth + 1);
      return [name, leaf === undefined ? asValue(group, depth + 1) : leaf.value];
    }),
  );
}

/** A map of settings, in the order in which they were read. */
interface Branch {
  readonly leaves: Setting[];
  readonly branches: Map<string, Branch>;
}

/** Orders settings by map: first the values of a map, then the maps in it. */
function inOrder(settings: readonly Setting[]): readonly Setting[] {
  const root: Branch = { leaves: [], branches: new Map() };
  for (const setting of settings) {
    let branch = root;
    for (const name of setting.path.slice(0, -1)) {
      const below = branch.branches.get(name) ?? { leaves: [], branches: new Map() };
      branch.branches.set(name, below);
      branch = below;
    }
    branch.leaves.push(setting);
  }
  return flatten(root);
}

function flatten(branch: Branch): readonly Setting[] {
  return [...branch.leaves, ...[...branch.branches.values()].flatMap(flatten)];
}

function sharedLength(left: readonly string[], right: readonly string[]): number {
  let length = 0;
  // The last name of a path belongs to a value and is never a heading.
  while (length < left.length - 1 && length < right.length - 1 && left[length] === right[length]) length += 1;
  return length;
}

function valueText(value: SettingValue): string {
  return value === "(secret)" ? value : JSON.stringify(value);
}

function originText(origin: Origin): string {
  const place = placeOf(origin);
  const variables = origin.variables ?? [];
  return variables.length === 0 ? place : `${place}, with ${variables.join(", ")}`;
}
