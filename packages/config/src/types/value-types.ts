import { access, constants, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { holdsIdentity, IDENTITY_AS_PATH } from "@cairn/checkpoint";
import { systemErrorCode } from "@cairn/kv";
import type { ConfigNode } from "../source/config-tree.ts";
import { eitherOf, type JsonSchema } from "./json-schema.ts";
import { allOrNone } from "./map-type.ts";
import { BUCKET_PATTERN, fileUrlPath, didYouMean, nearestName } from "@cairn/text";
import type { Value, ValueType } from "./reading.ts";

/** Returns the type of values that `parse` understands. `what` describes them in messages. */
function scalar<T extends string | number | boolean>(
  name: string,
  jsonSchema: JsonSchema,
  what: string,
  parse: (node: ConfigNode) => T | undefined,
): ValueType<T> {
  return {
    name,
    jsonSchema,
    read: (value) => parse(value.node) ?? value.expected(what),
    show: (value) => value,
  };
}

const TEXT = { type: "string" };

export function text(): ValueType<string> {
  return scalar("string", TEXT, "a non-empty string in double quotes", (node) =>
    node.type === "string" ? node.text || undefined : undefined,
  );
}

/** Returns the type of a string that matches a pattern, which `what` describes in messages. */
export function textLike(pattern: RegExp, what: string): ValueType<string> {
  const plain = text();
  return {
    ...plain,
    read(value) {
      const found = plain.read(value);
      return found === undefined || pattern.test(found) ? found : value.expected(what);
    },
  };
}

export function bucketName(): ValueType<string> {
  return textLike(new RegExp(BUCKET_PATTERN), "the name of a bucket");
}

/** Returns the type of a string that no message repeats, because a wrong one may contain a secret. */
export function privateText(
  name: string,
  what: string,
  accepts: (text: string) => boolean,
  hint?: string,
): ValueType<string> {
  return {
    ...text(),
    name,
    read(value) {
      const { node } = value;
      if (node.type === "string" && accepts(node.text)) return node.text;
      return value.refuse(`Expected ${what}${node.type === "string" ? "" : " in double quotes"}.`, hint);
    },
  };
}

/** Returns the type of a string that is never printed. By default, it is any string that is not empty. */
export function secret(pattern = /^[^]+$/, what = "a non-empty string"): ValueType<string> {
  return { ...privateText("string", what, (value) => pattern.test(value)), isSecret: true };
}

/** Returns the type of a path or a `file:` URL; the value is absolute, resolved from the working directory. */
export function path(): ValueType<string> {
  return {
    name: "path",
    isPath: true,
    jsonSchema: TEXT,
    read(value) {
      const { node, reading } = value;
      if (node.type !== "string") return value.expected("a path in double quotes");
      if (holdsIdentity(node.text)) return value.refuse(IDENTITY_AS_PATH.message, IDENTITY_AS_PATH.hint);
      const found = absolutePath(node.text, reading.cwd);
      if (found !== undefined) return found;
      if (/^file:/i.test(node.text)) return value.expected("a path on this machine", FILE_URLS);
      if (!node.text.startsWith("~")) return value.expected("a path on this machine");
      return value.expected("a path without ~", "Write the whole path: only shells expand ~.");
    },
    show: (value) => value,
  };
}

/** Returns the type of the path of a file that must exist before a node starts. Commands may run where it is missing. */
export function neededFile(): ValueType<string> {
  const plain = path();
  return {
    ...plain,
    read(value) {
      const found = plain.read(value);
      const { isForNode, checks } = value.reading;
      if (found !== undefined && isForNode) checks.push(async () => await checkReadable(found, value));
      return found;
    },
  };
}

async function checkReadable(file: string, value: Value): Promise<void> {
  try {
    await access(file, constants.R_OK);
    // A pipe that nobody writes to would keep the node from starting, and even from stopping.
    if ((await stat(file)).isFile()) return;
    const hint = "Name a regular file, which can be read at every start.";
    value.refuse(`The file ${file} is not a regular file.`, hint);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    const hint = "Check the path and the permissions of the file.";
    value.refuse(`The file ${file} cannot be read (${code}).`, hint);
  }
}

/**
 * Undefined if `written` is empty, longer than any path, begins with `~`, contains a NUL, or is a URL that names no file
 * of this machine.
 */
export function absolutePath(written: string, cwd: string): string | undefined {
  if (written === "" || written.length > MAX_PATH || written.startsWith("~") || written.includes("\0"))
    return undefined;
  return IS_URL.test(written) ? fileUrlPath(written) : resolve(cwd, written);
}

/** The limit of Linux, in bytes, without the NUL at its end. */
const MAX_PATH = 4095;
const FILE_URLS = "Write the path alone, or file:///folder with ? as %3F and # as %23.";
const IS_URL = /^(?:file:|[a-z][a-z0-9+.-]+:\/\/)/i;

/** A string of digits is also accepted, because `${NAME}` is always a string. */
export function integer(least: number, most: number = Number.MAX_SAFE_INTEGER): ValueType<number> {
  const upTo = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  const jsonSchema = { type: ["integer", "string"], minimum: least, maximum: most };
  return scalar("whole number", jsonSchema, `a whole number ${upTo}`, (node) => {
    const isDigits = node.type === "string" && DIGITS.test(node.text);
    const value = node.type === "number" ? node.value : isDigits ? Number(node.text) : Number.NaN;
    return Number.isSafeInteger(value) && value >= least && value <= most ? value : undefined;
  });
}

/** Longer numbers are not safe integers, and Number would silently round them. */
const DIGITS = /^-?[0-9]{1,16}$/;

/** Returns the type of true or false. Either is also accepted as a string, because `${NAME}` is always a string. */
export function boolean(): ValueType<boolean> {
  return scalar("boolean", { type: ["boolean", "string"] }, "true or false", (node) => {
    if (node.type === "boolean") return node.value;
    const isWord = node.type === "string" && (node.text === "true" || node.text === "false");
    return isWord ? node.text === "true" : undefined;
  });
}

/** Returns the type of an enumeration of words, which may be keywords in EDN. */
export function choice<const T extends string>(words: readonly T[]): ValueType<T> {
  const what = `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`;
  return {
    name: words.map((word) => `\`${word}\``).join(" or "),
    // A string may contain a variable.
    jsonSchema: eitherOf({ enum: words }, { type: "string", pattern: "\\$\\{" }),
    read(value) {
      const { node } = value;
      const word = node.type === "string" || node.type === "keyword" ? node.text : undefined;
      const found = words.find((known) => known === word);
      if (found !== undefined) return found;
      const near = word === undefined ? undefined : nearestName(word, words);
      return value.expected(what, near === undefined ? undefined : didYouMean(near));
    },
    show: (value) => value,
  };
}

/** Returns the type of a list of one or more values. A single value is shorthand for a list with one value. */
export function listOf<T>(item: ValueType<T>): ValueType<readonly T[]> {
  return {
    name: `list of ${item.name}`,
    jsonSchema: eitherOf(item.jsonSchema, { type: "array", items: item.jsonSchema }),
    read(list) {
      if (list.node.type !== "list") return allOrNone([item.read(list)]);
      const { items } = list.node;
      if (items.length === 0) return list.expected(`a list with at least one ${item.name}`);
      return allOrNone(items.map((node, index) => item.read(list.at(index, node))));
    },
    show(values) {
      const shown = values.map((value) => item.show?.(value)).filter((value) => value !== undefined);
      return shown.length === 0 ? undefined : shown;
    },
  };
}
