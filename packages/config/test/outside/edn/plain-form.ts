import type { ConfigNode } from "../../../src/source/config-tree.ts";
import { hexOf } from "../clojure.ts";

/** Returns a configuration's value as read.clj prints it. */
export function plainForm(node: ConfigNode): string {
  switch (node.type) {
    case "null":
      return "nil";
    case "boolean":
      return String(node.value);
    case "string":
      return `s${hexOf(node.text)}`;
    case "keyword":
      return `k${hexOf(node.text)}`;
    case "symbol":
      return `y${hexOf(node.text)}`;
    case "number":
      return `d${bitsOf(node.value)}`;
    case "list":
      return `[${node.items.map(plainForm).join(" ")}]`;
    case "call":
      return `(${[`y${hexOf(node.name)}`, ...node.arguments.map(plainForm)].join(" ")})`;
    case "map": {
      const entries = node.entries.map(({ name, value }) => `${hexOf(name)}=${plainForm(value)}`);
      return `{${entries.toSorted().join(" ")}}`;
    }
    case "instance":
      throw new Error("no text gives an instance");
  }
}

function bitsOf(number: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(number);
  return bytes.toString("hex");
}
