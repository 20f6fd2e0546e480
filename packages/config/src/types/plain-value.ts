import { durationOf } from "./duration-type.ts";
import type { ConfigNode } from "../source/config-tree.ts";
import type { SettingValue } from "./json-schema.ts";
import type { Value } from "./reading.ts";

/** Returns plain data for a user's module: symbols and keywords as strings, durations of any kind in milliseconds. */
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
      return node.value;
    case "null":
      return null;
    // Only calls that create durations are known.
    case "call":
    case "instance": {
      const result = durationOf(node);
      if (result !== undefined && "ms" in result) return result.ms;
      return node.type === "instance" ? node.value : undefined;
    }
  }
}

/**
 * Adds a problem for each call that creates no duration, because {@link plainValue} would leave its value out; with
 * `isSent`, also for what JSON lacks, because the value is sent to another thread or process.
 */
export function refuseCode(value: Value, { isSent = false } = {}): void {
  const { node } = value;
  if (node.type === "map")
    for (const entry of node.entries) refuseCode(value.at(entry.name, entry.value), { isSent });
  if (node.type === "list")
    for (const [index, item] of node.items.entries()) refuseCode(value.at(String(index), item), { isSent });
  const isCode = node.type === "instance" && durationOf(node) === undefined;
  if (isSent && (isCode || (node.type === "number" && !Number.isFinite(node.value))))
    value.expected("a value that JSON has");
  if (node.type !== "call") return;
  const result = durationOf(node);
  if (result !== undefined && "fault" in result) value.refuse(result.fault, result.hint);
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
