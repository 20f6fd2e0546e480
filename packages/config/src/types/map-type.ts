import { eitherOf } from "./json-schema.ts";
import { schemaOfParameters } from "./parameter.ts";
import { type Inconsistency, readParameters, recorded } from "./read-parameters.ts";
import type { Parameters, ParameterValues, ValueType } from "./reading.ts";

/** Returns the type of a map. `what` is its name in messages. */
export function mapOf<P extends Parameters>(
  what: string,
  parameters: P,
  check?: (values: ParameterValues<P>) => Inconsistency | undefined,
): ValueType<ParameterValues<P>> {
  return {
    name: "map",
    parameters,
    jsonSchema: schemaOfParameters(parameters),
    read: (value) =>
      value.node.type === "map"
        ? readParameters(parameters, value.as(value.node), { what, check })
        : value.expectedMap(`a map with ${Object.keys(parameters).join(", ")}`),
  };
}

/** `what` describes the names in messages. `type` returns the type of the value with that name. */
export function mapByName<T>(
  pattern: RegExp,
  what: string,
  type: (name: string) => ValueType<T>,
  least: 0 | 1 = 1,
): ValueType<readonly (readonly [name: string, value: T])[]> {
  const { parameters = {}, jsonSchema } = type("name");
  return {
    name: "map by name",
    parameters,
    jsonSchema: { type: "object", additionalProperties: eitherOf(jsonSchema, { type: "null" }) },
    read(map) {
      if (map.node.type !== "map") return map.expectedMap("a map by name");
      const entries = map.node.entries.filter(({ value }) => value.type !== "null");
      if (entries.length < least) return map.expected("a map with at least one entry other than null");
      return allOrNone(
        entries.map(({ name, nameOrigin, value }) => {
          const at = map.at(name, value);
          if (!pattern.test(name))
            return at
              .as({ ...value, origin: nameOrigin })
              .refuse(`Expected ${what}, found ${JSON.stringify(name)}.`);
          const named = type(name);
          const found = recorded(named, at, named.read(at));
          return found === undefined ? undefined : ([name, found] as const);
        }),
      );
    },
  };
}

/** Returns the values; undefined if one of them has a problem. */
export function allOrNone<T>(values: readonly (T | undefined)[]): readonly T[] | undefined {
  const valid = values.filter((value) => value !== undefined);
  return valid.length === values.length ? valid : undefined;
}
