import { placeOf } from "./config-tree.ts";
import type { Origin } from "./config-tree.ts";
import type { ResolvedConfig } from "./read-config.ts";
import type { Setting, SettingValue } from "./reading.ts";

/** The configuration as a table: each value with where it came from, secrets left out. */
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
  const width = Math.min(90, Math.max(0, ...rows.map((row) => (row.right === "" ? 0 : row.left.length))));
  return rows
    .map(({ left, right }) => (right === "" ? left : `${left.padEnd(width)}  # ${right}`))
    .join("\n");
}

/** The configuration for machines: the values as a configuration file has them, and the origin of each by its path. */
export function configAsJson(config: ResolvedConfig): {
  readonly values: SettingValue;
  readonly origins: readonly { readonly path: readonly string[]; readonly from: string }[];
} {
  const values: Tree = {};
  for (const { path, value } of config.settings) put(values, path, value);
  const origins = inOrder(config.settings).map(({ path, origin }) => ({ path, from: originText(origin) }));
  return { values, origins };
}

interface Tree {
  [name: string]: SettingValue | Tree;
}

function put(tree: Tree, path: readonly string[], value: SettingValue): void {
  const [first = "", ...rest] = path;
  if (rest.length === 0) {
    tree[first] = value;
    return;
  }
  const below = tree[first];
  const branch: Tree = isTree(below) ? below : {};
  tree[first] = branch;
  put(branch, rest, value);
}

function isTree(value: SettingValue | Tree | undefined): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Settings of one map next to each other: single values first, then the maps inside, each in the order they were read. */
function inOrder(settings: readonly Setting[]): readonly Setting[] {
  const groups = new Map<string, Setting[]>();
  for (const setting of settings) {
    const key = setting.path.slice(0, -1).join("\u0000");
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [setting]);
    else group.push(setting);
  }
  return [...groups]
    .toSorted(([left], [right]) => (left < right ? -1 : Number(left > right)))
    .flatMap(([, group]) => group);
}

function sharedLength(left: readonly string[], right: readonly string[]): number {
  let length = 0;
  // The last name of a path is a value's, never a heading.
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
