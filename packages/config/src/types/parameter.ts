import { eitherOf, type JsonSchema } from "./json-schema.ts";
import type { Parameter, Parameters, Value, ValueType } from "./reading.ts";

/** Returns a parameter's name in code: `keepDirOnClose` for `keep-dir-on-close?`. */
export function camelCase(name: string): string {
  return name.replace(/\?$/, "").replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function required<T>(type: ValueType<T>, doc: string): Parameter<T> {
  return { type, doc, required: true, defaultText: undefined, fallback: undefined };
}

/** Returns an optional parameter. `defaultText` describes what applies if it is absent. */
export function optional<T>(type: ValueType<T>, doc: string, defaultText?: string): Parameter<T | undefined> {
  return { type, doc, required: false, defaultText, fallback: undefined };
}

/** Returns a parameter with a default. `defaultText` describes a default that depends on the node. */
export function withDefault<T>(
  type: ValueType<T>,
  fallback: T | ((absent: Value) => T | undefined),
  doc: string,
  defaultText?: string,
): Parameter<T> {
  const shown = defaultText === undefined ? type.show?.(fallback as T) : undefined;
  const text = shown === undefined ? defaultText : `\`${JSON.stringify(shown)}\``;
  return { type, doc, required: false, defaultText: text, fallback };
}

export function schemaOfParameters(parameters: Parameters): JsonSchema & { readonly properties: JsonSchema } {
  const entries = Object.entries(parameters);
  const needed = entries.filter(([, parameter]) => parameter.required).map(([name]) => name);
  const properties = Object.fromEntries(
    entries.map(([name, { type, doc, required: isNeeded }]) => {
      // A null removes a parameter, so a required parameter must not be null.
      const schema = isNeeded ? type.jsonSchema : eitherOf(type.jsonSchema, { type: "null" });
      return [name, { ...schema, description: doc }];
    }),
  );
  const schema = { type: "object", properties, additionalProperties: false } as const;
  return needed.length === 0 ? schema : { ...schema, required: needed };
}
