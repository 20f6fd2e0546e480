import type { SettingValue } from "./plain-value.ts";

/** A fragment of JSON Schema. */
export type JsonSchema = { readonly [name: string]: SettingValue };

/** Matches texts with a variable, whose value depends on the environment. */
const VARIABLE = "\\$\\{";

/** A schema of values that satisfy any of the given ones. */
export function eitherOf(...schemas: readonly JsonSchema[]): JsonSchema {
  return { anyOf: schemas };
}

/** A schema of values that may also be texts with variables, or texts that match `alsoText`. */
export function orVariable(schema: JsonSchema, alsoText?: string): JsonSchema {
  const pattern = alsoText === undefined ? VARIABLE : `${VARIABLE}|${alsoText}`;
  return eitherOf(schema, { type: "string", pattern });
}

/** A schema of maps with at most one of these parameters. */
export function atMostOneOf(names: readonly string[]): JsonSchema {
  const pairs = names.flatMap((name, at) =>
    names.slice(at + 1).map((other) => ({ required: [name, other] })),
  );
  return { not: { anyOf: pairs } };
}
