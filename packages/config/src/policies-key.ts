import type { Policies } from "@cairn/client";
import { policyProblems } from "@cairn/engine";
import { type ConfigNode, type Origin, findEntry } from "./source/config-tree.ts";
import { plainValue, printableValue, refuseCode } from "./types/plain-value.ts";
import { type Reading, Value } from "./types/reading.ts";

const KEY = "cairn/policies";

/** Reads `cairn/policies`. Returns undefined if it is absent, or after adding problems. */
export function readPolicies(reading: Reading): Policies | undefined {
  const node = findEntry(reading.root, KEY)?.value;
  if (node === undefined || node.type === "null") return undefined;
  refuseCode(new Value(node, [KEY], reading));
  const value = plainValue(node);
  const problems = policyProblems(value);
  for (const { path, message } of problems) {
    const hint = "docs/policies.md describes policies.";
    reading.problems.add(originAt(node, path), [KEY, ...path], message, hint);
  }
  if (problems.length > 0) return undefined;
  reading.settings.push({ path: [KEY], value: printableValue("", value), origin: node.origin });
  return value as Policies;
}

/** Returns the origin of the innermost existing value on a path. */
function originAt(node: ConfigNode, path: readonly string[]): Origin {
  const [name, ...rest] = path;
  if (name === undefined) return node.origin;
  if (node.type === "list") {
    const item = node.items[Number(name)];
    return item === undefined ? node.origin : originAt(item, rest);
  }
  const entry = findEntry(node, name);
  if (entry === undefined) return node.origin;
  return rest.length === 0 ? entry.nameOrigin : originAt(entry.value, rest);
}
