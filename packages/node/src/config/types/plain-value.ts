import { wholeMilliseconds, DURATION_CALLS } from "../../text/duration.ts";
import type { ConfigNode } from "../source/config-tree.ts";

export type SettingValue =
  | null
  | boolean
  | number
  | string
  | readonly SettingValue[]
  | { readonly [name: string]: SettingValue };

/**
 * Returns a value in the form in which it is passed to a user's module: as plain data, with symbols and keywords as
 * strings and `(Duration/ofHours 6)` in milliseconds.
 */
export function plainValue(node: ConfigNode): unknown {
  switch (node.type) {
    case "map":
      return Object.fromEntries(node.entries.map((entry) => [entry.name, plainValue(entry.value)]));
    case "list":
      return node.items.map(plainValue);
    case "string":
    case "symbol":
    case "keyword":
      return node.text;
    case "number":
    case "boolean":
    case "instance":
      return node.value;
    case "null":
      return null;
    // Only calls that create durations are known.
    case "call": {
      const unit = DURATION_CALLS.get(node.name.replace(/^java\.time\./, ""));
      const [count] = node.arguments;
      if (unit === undefined || count?.type !== "number") return undefined;
      const result = wholeMilliseconds(count.value * unit, node.name);
      return "ms" in result ? result.ms : undefined;
    }
  }
}

/** Returns an option of a user's module for `config print`. It is redacted if its name suggests a secret. */
export function printableValue(name: string, value: unknown): SettingValue {
  if (/token|password|secret|credential|(?:^|[-_])key$/i.test(name)) return "(secret)";
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean")
    return value;
  if (Array.isArray(value)) return value.map((item) => printableValue("", item));
  if (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, printableValue(key, item)]));
  }
  return "(object)";
}
