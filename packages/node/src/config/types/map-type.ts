import { readParameters } from "./read-parameters.ts";
import { expected, expectedMap, type Parameters, type ParameterValues, type ValueType } from "./reading.ts";
import { omitUndefined } from "../source/omit-undefined.ts";
import { eitherOf } from "./json-schema.ts";
import type { JsonSchema } from "./json-schema.ts";

/**
 * Returns the type of a map with parameters, such as `retention-policy`. `what` is its name in messages. `finish`
 * creates the value, or calls `fail` if the parameters are inconsistent. `constraint` describes to editors which
 * combinations of parameters are consistent.
 */
export function mapOf<P extends Parameters, T>(
  what: string,
  parameters: P,
  finish: (values: ParameterValues<P>, fail: (message: string, hint: string) => undefined) => T | undefined,
  constraint: JsonSchema = {},
): ValueType<T> {
  return {
    name: "map",
    parameters,
    jsonSchema: { ...schemaOfParameters(parameters), ...constraint },
    read(node, path, reading) {
      if (node.type !== "map")
        return expectedMap(node, path, reading, `a map with ${Object.keys(parameters).join(", ")}`);
      const values = readParameters(parameters, node, path, reading, { what });
      if (values === undefined) return undefined;
      return finish(
        values,
        (message, hint) => void reading.problems.add(node.origin, path, message, { hint }),
      );
    },
    show: () => undefined,
  };
}

/** `what` describes the names in messages. `type` returns the type of the value with that name. */
export function mapByName<T>(
  pattern: RegExp,
  what: string,
  type: (name: string) => ValueType<T>,
): ValueType<readonly T[]> {
  const any = type("name");
  return {
    name: "map by name",
    ...omitUndefined({ parameters: any.parameters }),
    jsonSchema: {
      type: "object",
      minProperties: 1,
      propertyNames: { pattern: pattern.source },
      additionalProperties: eitherOf(any.jsonSchema, { type: "null" }),
    },
    read(node, path, reading) {
      if (node.type !== "map") return expectedMap(node, path, reading, "a map by name");
      const entries = node.entries.filter(({ value }) => value.type !== "null");
      if (entries.length === 0) return expected(node, path, reading, "a map with at least one entry");
      const values = entries.map(({ name, nameOrigin, value }) => {
        if (pattern.test(name)) return type(name).read(value, [...path, name], reading);
        reading.problems.add(nameOrigin, [...path, name], `Expected ${what}, found ${JSON.stringify(name)}.`);
        return undefined;
      });
      const valid = values.filter((value) => value !== undefined);
      return valid.length === values.length ? valid : undefined;
    },
    show: () => undefined,
  };
}

/** Returns the JSON Schema of a map with these parameters. */
export function schemaOfParameters(parameters: Parameters): MapSchema {
  const entries = Object.entries(parameters);
  const needed = entries.filter(([, parameter]) => parameter.required).map(([name]) => name);
  const properties = Object.fromEntries(
    entries.map(([name, { type, doc, required }]) => {
      // A null removes a parameter, so a required parameter must not be null.
      const schema = required ? type.jsonSchema : eitherOf(type.jsonSchema, { type: "null" });
      return [name, { ...schema, description: doc }];
    }),
  );
  const schema = { type: "object", properties, additionalProperties: false } as const;
  return needed.length === 0 ? schema : { ...schema, required: needed };
}

export type MapSchema = JsonSchema & { readonly properties: JsonSchema };
