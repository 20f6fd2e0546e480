import { readParameters } from "./read-parameters.ts";
import { expected, type Parameters, type ParameterValues, type ValueType } from "./reading.ts";
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
        return expected(node, path, reading, `a map with ${Object.keys(parameters).join(", ")}`);
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

/** The JSON Schema of a map. */
export type MapSchema = JsonSchema & { readonly properties: JsonSchema };
