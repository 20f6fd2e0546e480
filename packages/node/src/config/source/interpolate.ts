import type { ConfigEntry, ConfigNode, Origin, TextNode } from "./config-tree.ts";
import { nearestName } from "../../text/nearest-name.ts";
import { ownMember } from "../../text/own-member.ts";
import type { ProblemList } from "./problems.ts";

/** Environment variables, in the form of `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Expands environment variables in every string of a tree: `${NAME}` must be set, `${NAME:-default}` uses the default
 * if the variable is unset or empty, and `$${NAME}` becomes `${NAME}`. Keys, symbols and keywords are unchanged.
 */
export function interpolate(
  node: ConfigNode,
  env: Environment,
  problems: ProblemList,
  path: readonly string[] = [],
): ConfigNode {
  switch (node.type) {
    case "map":
      return { ...node, entries: node.entries.map((entry) => inEntry(entry, env, problems, path)) };
    case "list":
      return {
        ...node,
        items: node.items.map((item, index) => interpolate(item, env, problems, [...path, String(index)])),
      };
    case "call":
      return {
        ...node,
        arguments: node.arguments.map((argument) => interpolate(argument, env, problems, path)),
      };
    case "string":
      return node.text.includes("${") ? inText(node, env, problems, path) : node;
    default:
      return node;
  }
}

function inEntry(
  entry: ConfigEntry,
  env: Environment,
  problems: ProblemList,
  path: readonly string[],
): ConfigEntry {
  return { ...entry, value: interpolate(entry.value, env, problems, [...path, entry.name]) };
}

function inText(
  node: TextNode,
  env: Environment,
  problems: ProblemList,
  path: readonly string[],
): ConfigNode {
  const variables: string[] = [];
  const text = node.text.replace(
    // An optional second $, the content, and the closing brace, which may be missing.
    /(\$?)\$\{([^}]*)(\}?)/g,
    (whole, escape: string, inside: string, close: string) => {
      if (escape !== "") return whole.slice(1);
      const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside);
      if (close === "" || match === null || inside.includes("${")) {
        const hint = "Write ${NAME} or ${NAME:-default}, or write $${ for a literal ${.";
        problems.addUnfilled(node.origin, path, "This string contains a ${ that is not a variable.", hint);
        return whole;
      }
      const [, name = "", fallback] = match;
      const value = ownMember(env, name);
      if (value !== undefined && (value !== "" || fallback === undefined)) {
        variables.push(name);
        return value;
      }
      if (fallback !== undefined) return fallback;
      unset(name, node.origin, env, problems, path);
      return whole;
    },
  );
  return { ...node, text, origin: { ...node.origin, variables } };
}

function unset(
  name: string,
  origin: Origin,
  env: Environment,
  problems: ProblemList,
  path: readonly string[],
): void {
  const near = nearestName(
    name,
    Object.keys(env).filter((known) => env[known] !== undefined),
  );
  const set = `Set ${name}, or use a default: \${${name}:-default}.`;
  const hint = near === undefined ? set : `Did you mean ${near}? ${set}`;
  problems.addUnfilled(origin, path, `The environment variable ${name} is not set.`, hint);
}
