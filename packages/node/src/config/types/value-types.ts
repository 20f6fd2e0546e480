import { resolve } from "node:path";
import type { ConfigNode } from "../source/config-tree.ts";
import { eitherOf, orVariable } from "./json-schema.ts";
import { fileUrlPath } from "../../text/file-url.ts";
import { didYouMean, nearestName } from "../../text/nearest-name.ts";
import { expected, type ValueType } from "./reading.ts";

/** Returns the type of a non-empty string. */
export function text(): ValueType<string> {
  return {
    name: "string",
    jsonSchema: { type: "string", minLength: 1 },
    read(node, at, reading) {
      if (node.type !== "string" || node.text === "") {
        return expected(node, at, reading, "a non-empty string in double quotes");
      }
      return node.text;
    },
    show: (value) => value,
  };
}

/** Returns the type of a string that matches a pattern, which `what` describes in messages. */
export function textLike(pattern: RegExp, what: string): ValueType<string> {
  const plain = text();
  return {
    ...plain,
    jsonSchema: orVariable({ type: "string", pattern: pattern.source }),
    read(node, at, reading) {
      const value = plain.read(node, at, reading);
      return value === undefined || pattern.test(value) ? value : expected(node, at, reading, what);
    },
  };
}

/**
 * Returns the type of a path or a `file:` URL. Relative paths are resolved from the working directory, so the value is
 * always absolute.
 */
export function path(): ValueType<string> {
  return {
    name: "path",
    isPath: true,
    jsonSchema: {
      type: "string",
      minLength: 1,
      not: { pattern: "^(?:~|(?!file:///)[A-Za-z][A-Za-z0-9+.-]+://)" },
    },
    read(node, at, reading) {
      if (node.type === "call")
        return expected(node, at, reading, "a path as a string", 'Write "/path/to/it" in double quotes.');
      if (node.type !== "string") return expected(node, at, reading, "a path as a string");
      const value = absolutePath(node.text, reading.cwd);
      if (value !== undefined) return value;
      if (!node.text.startsWith("~")) return expected(node, at, reading, "a path on this machine");
      const hint = `Write \${HOME}${node.text.slice(1)}, because only shells expand ~.`;
      return expected(node, at, reading, "a path without ~", hint);
    },
    show: (value) => value,
  };
}

/** Undefined if `written` is empty, begins with `~`, contains a NUL, or is a URL that names no file of this machine. */
export function absolutePath(written: string, cwd: string): string | undefined {
  if (written === "" || written.startsWith("~") || written.includes("\0")) return undefined;
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(written)) return resolve(cwd, written);
  return written.startsWith("file:///") ? fileUrlPath(written) : undefined;
}

/** A string of digits is also accepted, because `${NAME}` is always a string. */
export function integer(least: number, most: number = Number.MAX_SAFE_INTEGER): ValueType<number> {
  const upTo = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  return {
    name: "whole number",
    jsonSchema: orVariable({ type: "integer", minimum: least, maximum: most }, "^-?[0-9]{1,16}$"),
    read(node, at, reading) {
      const value = numberOf(node);
      if (value === undefined || !Number.isSafeInteger(value) || value < least || value > most) {
        return expected(node, at, reading, `a whole number ${upTo}`);
      }
      return value;
    },
    show: (value) => value,
  };
}

/** Returns the type of true or false. Either is also accepted as a string, because `${NAME}` is always a string. */
export function boolean(): ValueType<boolean> {
  return {
    name: "boolean",
    jsonSchema: orVariable({ type: "boolean" }, "^(?:true|false)$"),
    read(node, at, reading) {
      if (node.type === "boolean") return node.value;
      if (node.type === "string" && (node.text === "true" || node.text === "false"))
        return node.text === "true";
      return expected(node, at, reading, "true or false");
    },
    show: (value) => value,
  };
}

/** Returns the type of an enumeration of words, which may be keywords in EDN. */
export function choice<const T extends string>(words: readonly T[]): ValueType<T> {
  const what = `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`;
  return {
    name: words.map((word) => `\`${word}\``).join(" or "),
    jsonSchema: orVariable({ enum: words }),
    read(node, at, reading) {
      const word = node.type === "string" || node.type === "keyword" ? node.text : undefined;
      const found = words.find((known) => known === word);
      if (found !== undefined) return found;
      const near = word === undefined ? undefined : nearestName(word, words);
      return expected(node, at, reading, what, near === undefined ? undefined : didYouMean(near));
    },
    show: (value) => value,
  };
}

/** Returns the type of a list of one or more values. A single value is shorthand for a list with one value. */
export function listOf<T>(item: ValueType<T>): ValueType<readonly T[]> {
  return {
    name: `list of ${item.name}`,
    jsonSchema: eitherOf(item.jsonSchema, { type: "array", items: item.jsonSchema, minItems: 1 }),
    read(node, at, reading) {
      const items = node.type === "list" ? node.items : [node];
      if (items.length === 0) return expected(node, at, reading, `a list with at least one ${item.name}`);
      const values = items.map((entry, index) =>
        item.read(entry, node.type === "list" ? [...at, String(index)] : at, reading),
      );
      const valid = values.filter((value): value is NonNullable<typeof value> => value !== undefined);
      return valid.length === values.length ? valid : undefined;
    },
    show(values) {
      const shown = values.map((value) => item.show(value)).filter((value) => value !== undefined);
      return shown.length === 0 ? undefined : shown;
    },
  };
}

// At most 16 digits are accepted, because longer numbers are not safe integers and Number would silently round them.
function numberOf(node: ConfigNode): number | undefined {
  if (node.type === "number") return node.value;
  return node.type === "string" && /^-?[0-9]{1,16}$/.test(node.text) ? Number(node.text) : undefined;
}
