import type { SettingValue } from "./plain-value.ts";

/** A fragment of JSON Schema. */
export type JsonSchema = { readonly [name: string]: SettingValue };

/** What a text must match that holds a variable: what it will be, only the environment knows. */
const VARIABLE = "\\$\\{";

/** A schema that any of the given ones may satisfy. */
export function eitherOf(...schemas: readonly JsonSchema[]): JsonSchema {
  return { anyOf: schemas };
}

/** A value that may also be given by variables in a text, and, where `alsoText` says so, as a text that is read as one. */
export function orVariable(schema: JsonSchema, alsoText?: string): JsonSchema {
  const pattern = alsoText === undefined ? VARIABLE : `${VARIABLE}|${alsoText}`;
  return eitherOf(schema, { type: "string", pattern });
}

/** Maps in which no two of these parameters stand together. */
export function atMostOneOf(names: readonly string[]): JsonSchema {
  const pairs = names.flatMap((name, at) =>
    names.slice(at + 1).map((other) => ({ required: [name, other] })),
  );
  return { not: { anyOf: pairs } };
}
