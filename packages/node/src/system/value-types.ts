import { isAbsolute, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Duration } from "luxon";
import type { ConfigNode } from "./config-tree.ts";
import { DURATION_CALLS, luxonDuration, parseDuration, wholeMilliseconds } from "./duration.ts";
import type { DurationResult } from "./duration.ts";
import { nearestName } from "./nearest-name.ts";
import { expected } from "./reading.ts";
import type { ConfigPath, Reading, SettingValue } from "./reading.ts";

/** A fragment of JSON Schema. */
export type JsonSchema = { readonly [name: string]: SettingValue };

/** What a parameter takes: how it is read, named in documents, and described to editors. */
export interface ValueType<T> {
  /** As docs/configuration.md names it. */
  readonly name: string;
  readonly jsonSchema: JsonSchema;
  /** The value, or undefined after it added what is wrong to the reading's problems. */
  read(node: ConfigNode, path: ConfigPath, reading: Reading): T | undefined;
  /** How `config print` shows a value; undefined when reading it recorded its own settings. */
  show(value: T): SettingValue | undefined;
}

/** Text, which must not be empty. */
export function text(): ValueType<string> {
  return {
    name: "text",
    jsonSchema: { type: "string", minLength: 1 },
    read(node, at, reading) {
      if (node.type !== "string" || node.text === "") {
        return expected(node, at, reading, "text in double quotes, not empty");
      }
      return node.text;
    },
    show: (value) => value,
  };
}

/** Text that must match; `what` says which, in messages. */
export function textLike(pattern: RegExp, what: string): ValueType<string> {
  const plain = text();
  return {
    ...plain,
    jsonSchema: { type: "string", pattern: pattern.source },
    read(node, at, reading) {
      const value = plain.read(node, at, reading);
      return value === undefined || pattern.test(value) ? value : expected(node, at, reading, what);
    },
  };
}

/** A path or `file:` URL; relative ones are relative to the working directory. The value is absolute. */
export function path(): ValueType<string> {
  return {
    name: "path",
    jsonSchema: { type: "string", minLength: 1 },
    read(node, at, reading) {
      if (node.type === "call")
        return expected(node, at, reading, "a path as text", 'Write "/path/to/it" in double quotes.');
      if (node.type !== "string" || node.text === "" || node.text.includes("\0"))
        return expected(node, at, reading, "a path as text");
      if (node.text.startsWith("~")) {
        return expected(
          node,
          at,
          reading,
          "a path without ~",
          `Write \${HOME}${node.text.slice(1)}; only a shell knows ~.`,
        );
      }
      if (node.text.startsWith("file:///") && URL.canParse(node.text)) return fileURLToPath(node.text);
      if (/^[a-z][a-z0-9+.-]+:\/\//i.test(node.text))
        return expected(node, at, reading, "a path of this machine's file system");
      return isAbsolute(node.text) ? resolve(node.text) : resolve(reading.cwd, node.text);
    },
    show: (value) => value,
  };
}

/** A whole number within bounds. Text of digits will do, since `${NAME}` can only give text. */
export function integer(least: number, most: number = Number.MAX_SAFE_INTEGER): ValueType<number> {
  const upTo = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  return {
    name: "whole number",
    jsonSchema: { type: "integer", minimum: least, maximum: most },
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

/** true or false; as text too, since `${NAME}` can only give text. */
export function boolean(): ValueType<boolean> {
  return {
    name: "boolean",
    jsonSchema: { type: "boolean" },
    read(node, at, reading) {
      if (node.type === "boolean") return node.value;
      if (node.type === "string" && (node.text === "true" || node.text === "false"))
        return node.text === "true";
      return expected(node, at, reading, "true or false");
    },
    show: (value) => value,
  };
}

/** A length of time above zero, in milliseconds. */
export function duration(): ValueType<number> {
  return {
    name: "duration",
    jsonSchema: {
      anyOf: [
        {
          type: "string",
          pattern: "^P(?=.)([0-9.]+W)?([0-9.]+D)?(T(?=.)([0-9.]+H)?([0-9.]+M)?([0-9.]+S)?)?$",
        },
        { type: "integer", minimum: 1 },
      ],
      description: "ISO-8601, such as PT6H or P7D, or a whole number of milliseconds",
    },
    read(node, at, reading) {
      const result = durationOf(node);
      if (result === undefined) return expected(node, at, reading, 'a duration, such as "PT6H"');
      if ("fault" in result) {
        const { fault, hint } = result;
        reading.problems.add(node.origin, at, fault, hint === undefined ? {} : { hint });
        return undefined;
      }
      if (result.ms > 0) return result.ms;
      return expected(node, at, reading, 'a duration above zero, such as "PT6H"');
    },
    show: (value) => Duration.fromMillis(value).rescale().toISO() ?? value,
  };
}

/** One of a few words. EDN may write them as keywords. */
export function choice<const T extends string>(words: readonly T[]): ValueType<T> {
  const what = `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`;
  return {
    name: words.map((word) => `\`${word}\``).join(" or "),
    jsonSchema: { enum: words },
    read(node, at, reading) {
      const word = node.type === "string" || node.type === "keyword" ? node.text : undefined;
      const found = words.find((known) => known === word);
      if (found !== undefined) return found;
      const near = word === undefined ? undefined : nearestName(word, words);
      return expected(
        node,
        at,
        reading,
        what,
        near === undefined ? undefined : `Did you mean ${JSON.stringify(near)}?`,
      );
    },
    show: (value) => value,
  };
}

/** A list of one or more; a single value stands for a list of one where `single` says so. */
export function listOf<T>(
  item: ValueType<T>,
  options: { readonly single?: boolean } = {},
): ValueType<readonly T[]> {
  const one = options.single === true ? [item.jsonSchema] : [];
  const many = { type: "array", items: item.jsonSchema, minItems: 1 };
  return {
    name: `list of ${item.name}`,
    jsonSchema: one.length === 0 ? many : { anyOf: [...one, many] },
    read(node, at, reading) {
      const items = node.type === "list" ? node.items : options.single === true ? [node] : undefined;
      if (items === undefined || items.length === 0)
        return expected(node, at, reading, `a list of at least one ${item.name}`);
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

function durationOf(node: ConfigNode): DurationResult | undefined {
  if (node.type === "number") {
    if (Number.isInteger(node.value)) return wholeMilliseconds(node.value, String(node.value));
    return {
      fault: `${node.value} is not a whole number of milliseconds.`,
      hint: "Numbers are milliseconds; write ISO-8601 text for anything else, such as PT1.5S.",
    };
  }
  if (node.type === "string") {
    // A variable can only give text: digits that came from one are the milliseconds that they would be without quotes.
    const digits = (node.origin.variables ?? []).length > 0 || node.origin.kind === "environment";
    return digits && /^[0-9]+$/.test(node.text)
      ? wholeMilliseconds(Number(node.text), node.text)
      : parseDuration(node.text);
  }
  if (node.type === "instance")
    return Duration.isDuration(node.value) ? luxonDuration(node.value) : undefined;
  if (node.type !== "call") return undefined;
  const name = node.name.replace(/^java\.time\./, "");
  const unit = DURATION_CALLS.get(name);
  if (unit === undefined) {
    const near = nearestName(name, DURATION_CALLS.keys()) ?? "Duration/ofHours";
    return {
      fault: `(${node.name} …) is not a duration.`,
      hint: `Did you mean (${near} …)? Known are ${[...DURATION_CALLS.keys()].join(", ")}.`,
    };
  }
  const [count] = node.arguments;
  if (node.arguments.length !== 1 || count?.type !== "number" || !Number.isInteger(count.value)) {
    return { fault: `(${node.name} …) takes one whole number.`, hint: `Write (${node.name} 6).` };
  }
  return wholeMilliseconds(count.value * unit, `(${node.name} ${count.value})`);
}

function numberOf(node: ConfigNode): number | undefined {
  if (node.type === "number") return node.value;
  return node.type === "string" && /^-?[0-9]{1,16}$/.test(node.text) ? Number(node.text) : undefined;
}
