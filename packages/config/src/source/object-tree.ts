import { Duration } from "luxon";
import { normalizeName } from "./config-tree.ts";
import type { ConfigEntry, ConfigNode, Origin } from "./config-tree.ts";
import type { ProblemList } from "./problems.ts";
import { MAX_DEPTH } from "./source-text.ts";

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
  const entries = new Map<string, ConfigEntry>();
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const name = normalizeName(key);
    const child = objectTree(item, problems, [...path, name]);
    if (entries.has(name))
      problems.add(origin, [...path, name], `The key ${JSON.stringify(name)} is repeated.`);
    else if (child !== undefined) entries.set(name, { name, nameOrigin: origin, value: child });
  }
  return { type: "map", entries: [...entries.values()], origin };
}

/** False for a part, which has functions. A map that names a module is data, even if the name is a function. */
function isPlainData(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Duration.isDuration(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return false;
  const members = Object.entries(value);
  if (members.some(([name]) => normalizeName(name) === "cairn/module")) return true;
  return !members.some(([, member]) => typeof member === "function");
}
