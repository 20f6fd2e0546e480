import { DEFAULT_ORIGIN, emptyMap } from "../source/config-tree.ts";
import type { ConfigPath, Parameter, Reading, ValueType } from "./reading.ts";
import { text } from "./value-types.ts";

const OPTIONAL = { required: false, defaultText: undefined, secret: false } as const;

export function required<T>(type: ValueType<T>, doc: string): Parameter<T> {
  return { ...OPTIONAL, type, doc, required: true, fallback: undefined };
}

/** Returns an optional parameter. `defaultText` describes what applies if it is absent. */
export function optional<T>(type: ValueType<T>, doc: string, defaultText?: string): Parameter<T | undefined> {
  return { ...OPTIONAL, type, doc, defaultText, fallback: undefined };
}

export function withDefault<T>(type: ValueType<T>, fallback: T, doc: string): Parameter<T> {
  const shown = type.show(fallback);
  return {
    ...OPTIONAL,
    type,
    doc,
    defaultText: shown === undefined ? undefined : `\`${JSON.stringify(shown)}\``,
    fallback,
  };
}

/** Returns a parameter whose default depends on the node. `defaultText` describes that default. */
export function derived<T>(
  type: ValueType<T>,
  fallback: (reading: Reading) => T,
  doc: string,
  defaultText: string,
): Parameter<T> {
  return { ...OPTIONAL, type, doc, defaultText, fallback };
}

/** Returns an optional map whose parameters all have defaults. */
export function withDefaults<T>(type: ValueType<T>, doc: string): Parameter<T> {
  const empty = emptyMap(DEFAULT_ORIGIN);
  const fallback = (reading: Reading, path: ConfigPath): T => {
    const value = type.read(empty, path, reading);
    if (value === undefined) throw new Error(`${type.name} has a parameter without a default.`);
    return value;
  };
  return { ...OPTIONAL, type, doc, defaultText: "as below", fallback };
}

/** The strings that a secret may be; `expected` describes them. */
export interface SecretForm {
  readonly pattern: RegExp;
  readonly expected: string;
}

/** Returns a string parameter that is never printed, not even in messages about a wrong value. Defaults to any string that is not empty. */
export function secret(
  doc: string,
  defaultText?: string,
  { pattern, expected }: SecretForm = { pattern: /^[^]+$/, expected: "a non-empty string" },
): Parameter<string | undefined> {
  const plain = text();
  const type: ValueType<string> = {
    ...plain,
    read(node, path, reading) {
      if (node.type === "string" && pattern.test(node.text)) return node.text;
      const form = node.type === "string" ? "" : " in double quotes";
      reading.problems.add(node.origin, path, `Expected ${expected}${form}.`);
      return undefined;
    },
  };
  return { ...OPTIONAL, type, doc, defaultText, fallback: undefined, secret: true };
}
