import type { ConfigNode, TextNode } from "./config-tree.ts";
import { nearestName, ownMember } from "@cairn/text";
import type { ProblemList } from "./problems.ts";

/** Environment variables, in the form of `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

export type Expanded = Map<string, string>;

/**
 * Expands variables in strings, not in keys, symbols and keywords: `${NAME}` must be set, `${NAME:-default}` may be
 * unset or empty, and `$${NAME}` becomes `${NAME}`. Adds the variables to `expanded`.
 */
export function interpolate(
  node: ConfigNode,
  env: Environment,
  problems: ProblemList,
  expanded: Expanded,
  path: readonly string[] = [],
): ConfigNode {
  const below = (inner: ConfigNode, ...names: string[]): ConfigNode =>
    interpolate(inner, env, problems, expanded, [...path, ...names]);
  switch (node.type) {
    case "map":
      return {
        ...node,
        entries: node.entries.map((entry) => ({ ...entry, value: below(entry.value, entry.name) })),
      };
    case "list":
      return { ...node, items: node.items.map((item, index) => below(item, String(index))) };
    case "call":
      return { ...node, arguments: node.arguments.map((argument) => below(argument)) };
    case "string":
      if (UNBRACED.test(node.text))
        problems.addUnfilled(node.origin, path, "This string looks like a variable of a shell.", NO_SHELL);
      return node.text.includes("${")
        ? inText(node, env, expanded, (message, hint) =>
            problems.addUnfilled(node.origin, path, message, hint),
          )
        : node;
    default:
      return node;
  }
}

/** Returns how a text is written so that {@link interpolate} leaves it as it is. */
export function literalText(text: string): string {
  const escaped = text.replaceAll(/\$\{[^}]*\}?/g, (variable) => `$${variable}`);
  return UNBRACED.test(text) ? `\${LITERAL:-${escaped.slice(0, 1)}}${escaped.slice(1)}` : escaped;
}

/** It does not repeat the text, which may be a secret. */
const NO_SHELL =
  "Write a variable as ${NAME}, the only form that is expanded. If the text is meant as it is, write it as the default of a variable that is not set: ${LITERAL:-TEXT}.";

/** A variable in the form of a shell, alone or before the rest of a path. */
const UNBRACED = /^(?:\$[A-Za-z_][A-Za-z0-9_]*|%[A-Za-z_][A-Za-z0-9_]*%)(?:[/\\]|$)/;

function inText(
  node: TextNode,
  env: Environment,
  expanded: Expanded,
  refuse: (message: string, hint: string) => void,
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
        refuse("This string contains a ${ that is not a variable.", hint);
        return whole;
      }
      const [, name = "", fallback] = match;
      const value = ownMember(env, name);
      if (value !== undefined && (value !== "" || fallback === undefined)) {
        variables.push(name);
        expanded.set(name, value);
        return value;
      }
      if (fallback !== undefined) return fallback;
      const known = Object.keys(env).filter((one) => env[one] !== undefined);
      const near = nearestName(name, known);
      const set = `Set ${name}, or use a default: \${${name}:-default}.`;
      const hint = near === undefined ? set : `Did you mean ${near}? ${set}`;
      refuse(`The environment variable ${name} is not set.`, hint);
      return whole;
    },
  );
  return { ...node, text, origin: { ...node.origin, variables } };
}
