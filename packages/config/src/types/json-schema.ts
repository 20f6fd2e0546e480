/** A value in the form of JSON, as `config print` shows it. */
export type SettingValue =
  | null
  | boolean
  | number
  | string
  | readonly SettingValue[]
  | { readonly [name: string]: SettingValue };

export type JsonSchema = { readonly [name: string]: SettingValue };

/** Matches strings that contain a variable. Their value depends on the environment. */
const VARIABLE = "\\$\\{";

/** Returns a schema of values that satisfy any of the given schemas. */
export function eitherOf(...schemas: readonly JsonSchema[]): JsonSchema {
  return { anyOf: schemas };
}

/** Returns a schema of values that may also be strings with variables, or strings that match `alsoText`. */
export function orVariable(schema: JsonSchema, alsoText?: string): JsonSchema {
  const pattern = alsoText === undefined ? VARIABLE : `${VARIABLE}|${alsoText}`;
  return eitherOf(schema, { type: "string", pattern });
}

/** Returns a schema of maps with at most one of these parameters. */
export function atMostOneOf(names: readonly string[]): JsonSchema {
  const pairs = names.flatMap((name, at) =>
    names.slice(at + 1).map((other) => ({ required: [name, other] })),
  );
  return { not: { anyOf: pairs } };
}
